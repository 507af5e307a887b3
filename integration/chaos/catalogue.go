package chaos

// Fault is a way to break pgbaton, or what it depends on, and the test that does.
type Fault struct {
	Name    string
	Inject  string // how
	Holds   string // what the test asserts
	Package string // of the test, below the module's root
	Test    string // what -run selects
}

// Group is a chapter of the catalogue.
type Group struct {
	Name   string
	Faults []Fault
}

// Catalogue has every fault that is injected for real. What is not in it is not
// tested: docs/reliability.md says so.
var Catalogue = []Group{
	{"Store", []Fault{
		{"agent frozen for a moment", "SIGSTOP, SIGCONT", "the next change is followed", "watcher/consul", "^TestFrozenServerGoesOn$"},
		{"agent killed, back later", "SIGKILL", "the last answer stays; the next change is followed", "watcher/consul", "^TestKilledServerKeepsTheLastAnswer$"},
		{"agent back, empty", "restart of a server that keeps nothing", "a lower index is no reason to wait", "watcher/consul", "^TestRestartWithLowerIndex$"},
		{"a peer that accepts and says nothing", "a listener that never answers", "it is given up within its time limit", "watcher/consul", "^TestSilentPeer$"},
		{"black hole", "iptables DROP, both ways", "the file stays, the store is said to be away, the next leader is followed once the line is mended", "integration/chaos", "^TestNetwork$/^black_hole$"},
		{"one-way loss", "iptables DROP of the replies", "the same", "integration/chaos", "^TestNetwork$/^one-way_loss$"},
		{"reset in the middle of a watch", "iptables REJECT with tcp-reset", "the same", "integration/chaos", "^TestNetwork$/^reset$"},
		{"30 % loss", "iptables statistic match", "each of five moves is followed meanwhile", "integration/chaos", "^TestNetwork$/^30_%_loss$"},
		{"narrow line", "tbf, 64 kbit/s", "each of five moves is followed meanwhile", "integration/chaos", "^TestNetwork$/^narrow_line$"},
		{"leader of three servers lost", "SIGKILL", "moves are followed, before it is back and after", "integration/chaos", "^TestConsulServers$/^its_leader_is_lost$"},
		{"pgbaton's server restarts", "SIGKILL, start", "the file stays; what changed meanwhile is followed", "integration/chaos", "^TestConsulServers$/^pgbaton's_server_restarts$"},
		{"quorum lost", "SIGKILL of two of three servers", "the file stays; the next move is followed", "integration/chaos", "^TestConsulServers$/^quorum_is_lost$"},
		{"older snapshot restored", "consul snapshot restore", "its leader is seen at once, and the next move", "integration/chaos", "^TestConsulServers$/^an_older_snapshot_is_restored$"},
		{"token revoked, its file replaced", "ACL token delete", "the last answer stays; the new token is used", "watcher/consul", "^TestTokenFileIsReplaced$"},
		{"token without rights", "ACL", "an error, never an empty answer", "watcher/consul", "^TestTokenWithoutRightsIsAnError$"},
		{"10,000 changes at once", "transactions of 64 keys, among 60 clusters", "all followed, no memory kept", "integration/chaos", "^TestBurst$"},
		{"a day of changes", "heartbeats, moves, restarts of Consul and SIGHUP, in a minute", "no growth of memory, files and threads", "integration/chaos", "^TestSoak$"},
		{"more clusters than the agent allows connections", "300 on plain HTTP, the agent as it is by default; a restart on top", "all followed, on 100 connections", "watcher/consul", "^TestFleetOnPlainHTTP$"},
		{"a token that may read each cluster, and nothing wider", "ACL, with and without enable_key_list_policy", "all followed", "watcher/consul", "^TestFleetWithNarrowRights$"},
		{"agent frozen, then killed, seen from outside", "SIGSTOP; SIGKILL", "status says since when the data is stale; not ready meanwhile", "integration", "^TestStatusOfAStoreThatIsAway$"},
		{"certificate expired", "expired certificates of client and server", "the last answer stays; replaced ones are used", "watcher/consul", "^TestCertificatesExpire$"},
		{"too many connections", "those that Consul's http_max_conns_per_client allows are taken", "429 is said, with what to do; the file stays; followed once there is a place", "integration/chaos", "^TestTooManyConnections$"},
		{"the server fails", "a proxy before Consul: 429, 500, 502, 503, 504", "the file stays, the log says what is wrong, the next leader is followed once it is over", "integration/chaos", "^TestNonsense$/^[0-9]+$"},
		{"somebody else answers", "a proxy before Consul: pages, lists, 404 that are none of its own", "the same; never taken for an empty store", "integration/chaos", "^TestNonsense$/(in_its_place|not_found)"},
		{"answers that are broken", "a proxy before Consul: bytes, holes, headers, an end in the middle, no end", "the same", "integration/chaos", "^TestNonsense$/(garbage|hole|cut|without_an_end|is_none)"},
		{"a server without a leader, or a stale one", "a proxy before Consul: KnownLeader, LastContact", "the same; no leader is decided from it", "integration/chaos", "^TestNonsense$/(knows_no_leader|stale)"},
		{"stale reads without an end", "a proxy before Consul goes on with an old answer", "the older leader is refused; the leader never goes back", "integration/chaos", "^TestEventsGoWrong$/old_one"},
		{"an event dropped, doubled, or an index from the future", "a proxy before Consul", "the next leader is followed, each in its turn", "integration/chaos", "^TestEventsGoWrong$/(twice|dropped|ahead)"},
		{"an answer older than the last", "a store that answers so", "asked for afresh before it counts", "watcher", "^TestOlderRevisionIsAskedForAfresh$"},
		{"hostile member keys", "NUL, new lines, controls, 512 KB and 1 MiB, in a real Consul", "the key is named, the last leader stays", "integration/chaos", "^TestHostileMember$"},
		{"large values", "512 KB and 1 MiB, any bytes, in a real Consul", "written as they are; a NUL is refused with its key", "integration/chaos", "^TestLargeValue$"},
		{"nonsense in Consul's place", "fuzzing: status, headers, body", "an error, never a value", "watcher/consul", "^FuzzAnswer$"},
		{"nonsense in Patroni's REST API's place", "fuzzing: status, body", "nobody takes writes by it", "internal/probe", "^FuzzAnswer$"},
		{"nonsense in the keys of a cluster", "fuzzing", "no host or port that could end a line of a config; who leads has an address", "watcher/cluster", "^FuzzDecodePatroni$"},
	}},
	{"Leadership", []Fault{
		{"old leader still takes writes", "SIGSTOP of its Patroni", "an alarm; no row of the pooler's clients lands there after the new one is confirmed", "integration", "^TestLostLeaders$/^its_Patroni_stops"},
		{"leader restarts in place", "patronictl restart", "clients that were held lose nothing", "integration", "^TestLostLeaders$/^it_restarts_in_place$"},
		{"leader hangs", "SIGSTOP of Patroni and PostgreSQL", "what hung is cut; each client fails once at most", "integration", "^TestLostLeaders$/^it_hangs$"},
		{"leader crashes", "SIGKILL of Patroni and PostgreSQL", "each client fails once at most", "integration", "^TestLostLeaders$/^it_crashes$"},
		{"planned switchover under load", "patronictl switchover", "no error after the hold, no acknowledged row missing", "integration", "^TestNobodyNoticesASwitchover$"},
	}},
	{"Disk", []Fault{
		{"killed at each system call that changes anything", "ptrace: SIGKILL as the call is entered; each call in turn", "files whole, daemon's own check passes; the next start settles, and changes nothing twice", "integration/chaos", "^TestKilledAtEachStep$"},
		{"each of those calls fails", "ptrace: EIO, ENOSPC, EPERM in turn", "the same; success is never claimed wrongly", "integration/chaos", "^TestEachStepFails$"},
		{"power loss at each of those calls", "the same kill; what was not fsynced is undone, or emptied", "the same, with the daemon started anew on what is left", "integration/chaos", "^TestPowerLoss$"},
		{"no space", "a tmpfs filled up", "the file stays, the log says why; followed once there is space", "integration/chaos", "^TestDisk$/^no_space$"},
		{"no inodes", "a tmpfs without inodes", "the same", "integration/chaos", "^TestDisk$/^no_inodes$"},
		{"read-only", "remount", "the same", "integration/chaos", "^TestDisk$/^read-only$"},
		{"the folder vanishes", "rename", "the log says which; followed once it is back", "integration/chaos", "^TestFolderVanishes$"},
		{"an owner that may not be given", "user = root, as another user", "refused with a hint; the file stays", "integration/chaos", "^TestOwnerIsNotAllowed$"},
		{"hands in between", "40 edits, removals, links, chmods, chowns by chance, while the leader moves", "all put right in the end, and nobody else's file touched", "integration/chaos", "^TestHandsInBetween$"},
		{"corrupt records", "bits flipped, or the file cut, 30 times", "followed all the same", "integration/chaos", "^TestCorruptRecord$"},
		{"nonsense in the state folder", "fuzzing", "never followed wrongly, no hold gets longer, an error names the file", "internal/target", "^FuzzStateFiles$"},
		{"nonsense for a config", "fuzzing: HCL 2, HCL 1, JSON", "taken, or refused with a place in it", "internal/config", "^FuzzLoad$"},
		{"a config that no parser can descend into", "a million open brackets; 16 MiB", "refused with a place", "internal/config", "^TestSane$"},
	}},
	{"Daemons", []Fault{
		{"a check hangs", "a program that never ends", "ended at its time limit", "reload/haproxy", "^TestCheckGivesNoAnswer$"},
		{"a check forks and hangs", "children and grandchildren that hold its output open", "the whole process group is ended at the time limit", "internal/proc", "^TestTimeLimitKillsTheWholeTree$"},
		{"a check's child leaves its process group", "setsid", "nobody waits for it", "internal/proc", "^TestAChildLeavesTheGroup$"},
		{"a check passes, the reload fails", "the port is taken", "seen, and not called followed", "reload/haproxy", "^TestFollowSeesAFailedReload$"},
		{"a reload is not obeyed", "a setting that PgBouncer 1.18 refuses", "seen, and not called followed", "reload/pgbouncer", "^TestFollowSeesThatPgbouncerDoesNot$"},
		{"the console is frozen", "SIGSTOP of pgbouncer", "given up within its time limit", "reload/pgbouncer", "^TestFollowFrozenConsole$"},
		{"HAProxy's master is frozen", "SIGSTOP of the master alone", "each call is given up within its time limit, and none comes into effect later", "reload/haproxy", "^TestFrozenMaster$"},
		{"nonsense in a console's place", "fuzzing: rows of SHOW DATABASES", "what is held leads to the leader", "reload/pgbouncer", "^FuzzRows$"},
		{"nonsense in a worker's place", "fuzzing: show servers state", "an error, or what can be held is found again", "reload/haproxy", "^FuzzParseServers$"},
		{"sessions that are none", "fuzzing: show sess", "no command for what is no session", "reload/haproxy", "^FuzzSessions$"},
		{"somebody else reloads HAProxy meanwhile", "SIGUSR2 in a loop", "followed by the worker that serves", "reload/haproxy", "^TestFollowWhileOthersReload$"},
		{"a PID file names another process", "written so", "nobody else is signalled", "reload/signal", "^TestFollowSignalsNobodyElse$"},
		{"pgbouncer dies while it is held", "SIGKILL, start", "held again", "integration", "^TestWaysOutOfAHold$/^pgbouncer_restarts$"},
	}},
	{"All of it", []Fault{
		{"by chance, in pairs", "29 kinds of fault, on a pgbouncer with three PostgreSQL servers; `make storm` for long", "a checker that knows no code finds nothing in what was seen", "integration/storm", "^TestStorm$"},
	}},
	{"Self", []Fault{
		{"frozen past everything, then goes on", "SIGSTOP while it holds; the guard releases, the leader moves; SIGCONT", "nothing is held by what it knew; the leader is followed, and nobody else before", "integration", "^TestFrozenPastEverything$"},
		{"out of file descriptors", "prlimit of RLIMIT_NOFILE", "the log says it, with what to do; the file stays; followed once there are more", "integration/chaos", "^TestOutOfFileDescriptors$"},
		{"out of memory", "prlimit of RLIMIT_AS, and 20 MB of keys", "the file stays; the next start follows", "integration/chaos", "^TestOutOfMemory$"},
		{"the clock is set while it holds", "an injected clock", "the guard releases in time, or before", "cmd/pgbaton", "^TestGuardWhoseClockIsSet$"},
		{"the clock is set back before the next start", "a hold of the future in the state folder", "held no longer than it was to be", "internal/target", "^TestKeeper$/clock_is_set_back"},
		{"the clock is set while it waits for an hour by it", "timers far ahead", "looked at again", "internal/target", "^TestTimersLookAtTheClock$"},
		{"killed while it holds traffic", "SIGKILL", "the guard releases at the deadline", "integration", "^TestWaysOutOfAHold$/^kill_-9,_and_the_guard$"},
		{"killed while it holds traffic, started again", "SIGKILL, start", "the next one takes the hold over", "integration", "^TestWaysOutOfAHold$/^kill_-9,_and_the_next_start$"},
		{"the store is away while it holds traffic", "SIGSTOP of Consul", "released at the deadline", "integration", "^TestWaysOutOfAHold$/^the_store_is_away$"},
		{"started twice", "a second pgbaton on the same console", "the second one is refused to hold", "integration", "^TestWaysOutOfAHold$/^a_second_pgbaton$"},
		{"killed, its control socket left behind", "SIGKILL, start", "the next one takes it over", "integration", "^TestSocketOfAKilledOne$"},
		{"connections that say nothing, or half of something, as it ends", "40 of them, and an operator who waits", "it ends within 5 s; a word that nobody waits for is taken back", "integration", "^TestStopsWithOpenConnections$"},
		{"the port of its status listener is taken", "a listener in its place, over SIGHUP", "the targets go on; opened once the port is free", "integration", "^TestStatusOverAReload$"},
		{"started twice on the same state", "a second pgbaton on the same target", "the second one changes nothing", "internal/target", "^TestSecondPgbatonIsRefused$"},
	}},
	{"Field", []Fault{
		{"no disk space at the leader", "a tmpfs with pg_wal filled up; PostgreSQL panics", "the next leader is followed, no acknowledged row missing", "integration/field", "^TestField$/^exhausted$/^the_leader's_disk$"},
		{"no connection left at the leader", "all of max_connections, pgbaton's login ended", "it is not taken for dead: no hold, no client notices", "integration/field", "^TestField$/^exhausted$/^the_leader's_connections$"},
		{"no connection left at the next leader", "all of max_connections, SQL is the only way to confirm", "confirmed once one is free", "integration/field", "^TestField$/^exhausted$/^the_next_leader's_connections$"},
		{"no connection left at Consul", "http_max_conns_per_client used up", "the file stays, the log names the limit; followed once there is room", "integration/chaos", "^TestConsulIsFull$"},
		{"latency", "a proxy on each line of pgbaton's machine: 150 ms ± 100 each way", "a switchover is followed meanwhile, no acknowledged row missing", "integration/field", "^TestField$/^bad_lines$/^latency$"},
		{"slow close", "the same: 2 s", "the same", "integration/field", "^TestField$/^bad_lines$/^slow_close$"},
		{"answers in slices", "the same: 256 bytes each", "the same", "integration/field", "^TestField$/^bad_lines$/^slices$"},
		{"answers that end in the middle", "a proxy before Consul that ends after 20 kB", "the same", "integration/field", "^TestField$/^bad_lines$/^ends_after_some_bytes$"},
		{"half-open line to Consul", "a proxy that takes all and passes nothing on", "the store is said to be away; followed once it is mended", "integration/field", "^TestField$/^bad_lines$/^open,_and_nothing_comes$"},
		{"pgbaton's machine is cut off", "iptables DROP of everything; a switchover meanwhile", "the file stays; followed once it is mended", "integration/field", "^TestField$/^partitions$/^pgbaton's_machine_is_cut_off$"},
		{"cut off from the next leader", "iptables DROP between both", "it is not confirmed, held clients go on at hold_timeout; followed once it is mended", "integration/field", "^TestField$/^partitions$/^it_sees_the_store,_and_not_the_next_leader$"},
		{"cut off from the next leader, whose role is believed", "the same, with confirm = role", "confirmed, then lost; clients go on once it is mended", "integration/field", "^TestField$/^partitions$/^the_same,_and_the_role_in_its_key_is_believed$"},
		{"cut off from Consul alone", "iptables DROP between both; then a switchover", "nobody notices, until the leader takes no writes; followed once it is mended", "integration/field", "^TestField$/^partitions$/^it_sees_the_leader,_and_not_the_store$"},
		{"the old leader sees pgbaton alone", "iptables DROP between it and all others", "clients go on at the next one, no acknowledged row missing", "integration/field", "^TestField$/^partitions$/^the_old_leader_sees_pgbaton_alone$"},
		{"two leaders, one of them cut off", "the same, and SIGSTOP of its Patroni", "an alarm; no row lands there after the next one is followed", "integration/field", "^TestField$/^partitions$/^the_same,_and_its_Patroni_stops$"},
		{"a promotion takes its time", "a pre_promote script that waits", "the file stays and clients wait; the next leader is followed once it takes writes", "integration/field", "^TestField$/^failovers$/^the_promotion_takes_its_time$"},
		{"a promotion fails, a third one leads", "a pre_promote script that fails", "the one that failed is never followed, the third one is", "integration/field", "^TestField$/^failovers$/^the_next_leader_can't_be_promoted$"},
		{"the next leader dies before it is promoted", "SIGKILL of Patroni and PostgreSQL", "the same", "integration/field", "^TestField$/^failovers$/^the_next_leader_dies_before$"},
		{"nobody leads", "SIGKILL of all members", "the file stays, clients are held no longer than hold_timeout, and go on once there is a leader", "integration/field", "^TestField$/^failovers$/^nobody_leads$"},
		{"a member that is not there", "its key says primary, its address is a black hole", "a switchover is followed all the same", "integration/field", "^TestField$/^failovers$/^a_member_that_is_not_there$"},
		{"a second failover while the first is applied", "a check or a reload that hangs, then the leader moves on, or back", "the last leader is followed, and nothing comes after", "integration/chaos", "^TestSecondFailover$"},
		{"the leader key flaps", "ten times a second, or it is gone", "the file names one member at every instant, the last one in the end", "integration/chaos", "^TestFlappingKey$"},
		{"a leader key without its member key", "the member key deleted, before and after", "the file stays until both are there", "integration/chaos", "^TestHalfOfTheKeys$"},
		{"two keepalived masters", "iptables DROP of VRRP", "the leader is followed meanwhile; once they hear each other its host alone has the address", "integration", "^TestTwoKeepalivedMasters$"},
		{"old HAProxy workers pile up", "100 reloads by hand, each worker with a session", "no more than max_reloads and hard_stop_after let; a leader that moves adds none", "integration/chaos", "^TestOldWorkers$"},
	}},
}
