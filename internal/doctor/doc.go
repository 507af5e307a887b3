// Package doctor tells a load balancer by HTTP whether a PostgreSQL server is well, in
// the place of pgDoctor, whose pgdoctor.cfg it reads as it is.
//
// Whoever looks at a server is an Examiner; the Handler asks one for each request and
// never keeps a balancer waiting longer than it was told to: requests that come at once
// share one look (Shared), and whoever can't wait for its end is told so. A Server is
// looked at over one connection, which is as fresh for each look as a new one.
//
// Its caller owes: reasons are shown to whoever can connect, so what is secret in them
// is for the caller to hide.
package doctor
