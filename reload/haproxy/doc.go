// Package haproxy makes HAProxy follow its config.
//
// Check is `haproxy -c` on the staged files. It finds what can be found without
// opening a port: a reload may pass it and still fail to bind. So Follow tries
// to bind new addresses itself before it reloads, and looks afterwards.
//
// Follow takes the config apart into the addresses of its servers and all the
// rest. Over the master socket it first tells the workers the addresses, as far
// as servers of that name are there, and asks them whether they have them: that
// takes a few milliseconds, and what the checks found at an old address does not
// count at the new one. If the rest is what the same worker was seen to read
// before, which the mark's State knows, HAProxy has followed. What can be told
// to a worker are, of backends in mode tcp, the address of a server, the options
// addr and port of its check, and the option disabled. A server that an operator
// put into maintenance by hand stays there.
//
// Anything else takes a reload: HAProxy has followed when the master counts more
// reloads than before, none of them failed since the last good one, and a worker
// runs that did not run before. The master's own answer to `reload` is empty up
// to 2.6; from 2.7 it is a verdict with log lines, which is believed when it is
// no. The master closes its sockets when it reloads, so a refused connection is
// waited out for a while. A server-state file that brings back the addresses of
// before is overruled.
//
// Only a reload that began after Follow did is counted, whoever asked for it: it
// has read the committed files. So two reloads that HAProxy makes one are no
// harm.
//
// Hold leads a slot, a backend's only server, to a port where nobody listens:
// sessions are connected again and again there, as `retries` of the backend and
// `timeout connect` say, and go on when it leads to a server again. Its checks
// stop meanwhile: new sessions of one that is down are refused. To take less of
// the frontend's maxconn would be gentler, but HAProxy 2.6 can deadlock when it
// is raised again. Follow leaves a held slot alone unless it is to lead elsewhere.
// Workers of before a reload take no commands: what waits there is ended by
// Release.
//
// Cut ends sessions one by one, in the workers of before a reload too, for
// `shutdown sessions server` does nothing there.
//
// Without a master socket, a PID file names the master and it gets SIGUSR2; then
// nobody can be asked, and the mark says that it was only sent. A master loses
// the signal in its first moments, so it is sent once more if no new worker
// comes up, and the lack of one is an error. Nothing can be moved or cut.
//
// The caller's files: the first is HAProxy's config, and any further one that
// ends in ".cfg" is given to the check as a further -f, in the order of the set.
// Other files, such as maps, are looked up by HAProxy under the path that the
// config has for them: there the check reads what is in place, not what is
// staged. A file that is not there yet is thus refused once; put it into place
// before the config that mentions it.
package haproxy
