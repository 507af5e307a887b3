// Package control is the socket through which others on this machine look at a
// running pgbaton and tell it what an operator wants: HTTP over a unix socket in the
// state folder.
//
// Whoever may open the socket may look. What changes anything is for root, for the
// user that the daemon runs as, and for one group; who somebody is the kernel says, and
// nobody else.
//
//	GET  /v1/status            status.Status
//	POST /v1/freeze            Word -> Reply
//	POST /v1/thaw              Word -> Reply
//	POST /v1/apply             Word -> Reply, once it was done
//
// A refusal is a Refusal, with a status code that fits. Fields and paths are only added
// to v1.
//
// Several pgbatons may share a state folder, with different targets. Each takes the
// first free one of the names control.sock, control-2.sock, … by a lock that the kernel
// lets go of with its process: so what a killed one left behind is known for what it
// is. Whoever looks for the pgbaton of a target asks all of them.
package control
