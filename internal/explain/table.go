package explain

// The codes. A test sees to it that each is used, and in the table once.
const (
	// Configs.
	ConfigSyntax     = "PGB001"
	ConfigUnknown    = "PGB002"
	ConfigValue      = "PGB003"
	ConfigMissing    = "PGB004"
	ConfigConflict   = "PGB005"
	ConfigUnreadable = "PGB006"
	ConfigNoEffect   = "PGB007"
	ConfigRefused    = "PGB008"

	// Templates.
	TemplateSyntax    = "PGB011"
	TemplateExecution = "PGB012"

	// Data.
	Waiting    = "PGB021"
	StoreStale = "PGB022"
	BadKey     = "PGB023"

	// Targets.
	CheckRefused = "PGB031"
	NotApplied   = "PGB032"
	NotFollowed  = "PGB033"
	Guarded      = "PGB034"
	Drifted      = "PGB035"
	Locked       = "PGB036"
	Frozen       = "PGB037"
	RecordLost   = "PGB038"
	HookFailed   = "PGB039"

	// Leaders and traffic.
	TwoWriters    = "PGB041"
	LeaderRefused = "PGB042"
	WayFails      = "PGB043"
	HoldGivenUp   = "PGB044"
	StaysHeld     = "PGB045"
	Uncut         = "PGB046"

	// The process and its doors.
	NoneRuns   = "PGB051"
	NoSocket   = "PGB052"
	Forbidden  = "PGB053"
	NoListener = "PGB054"
	ChildFails = "PGB055"
	NoDoctor   = "PGB056"
	Unwell     = "PGB057"

	// The command line.
	Usage       = "PGB061"
	FileExists  = "PGB062"
	OtherStore  = "PGB063"
	PatroniFile = "PGB064"
)

// Entries are all codes, in their order.
var Entries = []Entry{
	{
		ConfigSyntax, "config-syntax", "The config can't be parsed",
		"A brace, a quote or an equals sign is missing or too many, so that the file is neither HCL nor JSON.",
		"Nothing starts on it. A pgbaton that runs keeps the config that it has.",
		"Look at the line that is shown, and at the one before it. pgbaton fmt -check FILE tells whether it parses.",
	},
	{
		ConfigUnknown, "config-unknown", "The config has a name that is not known there",
		"A setting, a block, a kind, a built-in template, a var or a cluster has a name that nothing has: mostly a typo, or a setting in the wrong block.",
		"Nothing starts on it. A pgbaton that runs keeps the config that it has.",
		"Take the name that the hint proposes, or look it up in docs/config.md.",
	},
	{
		ConfigValue, "config-value", "A setting has a value that it can't have",
		"The value is of another kind (a text for a number), out of range, or no path, duration or permission.",
		"Nothing starts on it. A pgbaton that runs keeps the config that it has.",
		"The hint has the form. docs/config.md has kind and default of each setting.",
	},
	{
		ConfigMissing, "config-missing", "The config lacks something",
		"A setting that has no default is not there, as the destination of a template or the command of a target, or there is no target at all.",
		"Nothing starts on it. A pgbaton that runs keeps the config that it has.",
		"Add what is named; docs/config.md marks what is required.",
	},
	{
		ConfigConflict, "config-conflict", "Two things of the config exclude each other",
		"A name or a destination is used twice, or two settings are set of which only one can be.",
		"Nothing starts on it. A pgbaton that runs keeps the config that it has.",
		"Keep one of them. With several files remember that blocks add up.",
	},
	{
		ConfigUnreadable, "config-unreadable", "A file of the config can't be read",
		"A config, or a template that it names, is not there, or pgbaton's user may not read it.",
		"Nothing starts on it. A pgbaton that runs keeps the config that it has.",
		"Correct the path, which begins where the config file is, or let pgbaton's user read it.",
	},
	{
		ConfigNoEffect, "config-no-effect", "A setting has no effect",
		"It is accepted so that a config of consul-template's stays as it is, or it opens something wider than is mostly meant. It is a warning.",
		"It goes on without it.",
		"Leave it out, or follow the hint.",
	},
	{
		ConfigRefused, "config-refused", "A new config was not taken up",
		"SIGHUP was sent, and the config as it is now has a mistake, or names something that can't be opened.",
		"The old config goes on, with all that it watches and holds.",
		"pgbaton check says what is wrong with it. Then send SIGHUP again: systemctl reload pgbaton.",
	},
	{
		TemplateSyntax, "template-syntax", "A template can't be parsed",
		"An action is not closed, a function does not exist, a block has no end, or the file is no UTF-8.",
		"The last good file stays. A pgbaton that runs renders on from the template's last good text.",
		"The line is shown with a caret. docs/templates.md has the language and the functions.",
	},
	{
		TemplateExecution, "template-execution", "A template can't be executed",
		"A field does not exist, a function got what it can't work with, the template calls fail, or it runs too long or grows too large.",
		"The last good file stays. It is executed again as soon as anything changes that it looks at.",
		"Look at the line that is shown and at the data: pgbaton capture writes what the store says, pgbaton render -state FILE tries with it.",
	},
	{
		Waiting, "waiting", "Something that a template needs is missing",
		"A key is absent, a service has too few instances, or no leader is confirmed. What it is, and since when, is in the message.",
		"The last good file stays, the daemon is not touched, and the target goes on by itself as soon as it is there. run -once, render, diff and capture give up at -timeout.",
		"See why it is missing in the store. A key that may be absent is read with keyOrDefault, a service that may be empty takes minimum = { NAME = 0 }.",
	},
	{
		StoreStale, "store-stale", "The store does not answer",
		"Consul can't be reached, has no leader, refuses the token or too many connections, or the state file can't be read.",
		"What it said last stays, and nothing on disk changes. It is asked again at least every two seconds.",
		"The message has its words. consul members, the token's rights, and limits.http_max_conns_per_client of the agent are where to look.",
	},
	{
		BadKey, "bad-key", "A key of a cluster can't be read",
		"A key below the cluster's scope is no JSON, or has no address in it, as after a write by hand.",
		"That member counts as not there; the rest of the cluster is followed.",
		"Look at the key in the store. Patroni and Stolon write theirs anew at the next heartbeat; one that names the leader is written by whoever moves it.",
	},
	{
		CheckRefused, "check-refused", "The daemon's check refuses what was rendered",
		"haproxy -c, keepalived -t, a dry run of pgbouncer or the target's own check says that the files are bad.",
		"Nothing is swapped in: the daemon keeps its last good files. It is tried again when the result changes, and after growing pauses.",
		"The message has the daemon's own words. pgbaton render -check tries it aside; pgbaton diff shows what is new.",
	},
	{
		NotApplied, "not-applied", "The files can't be swapped in",
		"The disk is full, a folder can't be written, an owner can't be given, or a check came to no answer in its time.",
		"The last good files are whole and stay. It is tried again after growing pauses, up to a minute.",
		"The message names the path. pgbaton needs to write the folder of a destination, not only the file.",
	},
	{
		NotFollowed, "not-followed", "The files are in place, and the daemon does not follow",
		"The reload failed, or the daemon was asked and still shows what it had before.",
		"It is told again after growing pauses, up to 15 s, also after a restart of pgbaton.",
		"See whether the daemon runs, and whether pgbaton's user may tell it: the console of pgbouncer, the master socket of HAProxy.",
	},
	{
		Guarded, "guarded", "A change is too large",
		"It would remove more of a file's lines than max_removal allows, as after an answer that lacks most of what there was.",
		"The last good file stays. A change that takes less goes through by itself.",
		"See what the store lacks. If the change is meant: pgbaton apply -force.",
	},
	{
		Drifted, "drifted", "A file was changed by somebody else",
		"A destination is not as pgbaton left it: its content, its mode or its owner.",
		"It is put right at once, or left until the next change with drift = \"report\".",
		"Make the change in the template or in vars. pgbaton freeze keeps a target as it is for a while.",
	},
	{
		Locked, "locked", "Another pgbaton has the target",
		"Two pgbatons with the same state folder have a target of the same kind and name, or the state folder can't be used.",
		"The second one leaves the target alone, and takes it over once the first has ended.",
		"Stop one of them, or give it a state_dir of its own.",
	},
	{
		Frozen, "frozen", "The target is frozen",
		"An operator said pgbaton freeze: nothing of it is changed, a change of leader included.",
		"It watches and shows what it would change. Traffic is still held and released.",
		"pgbaton thaw, or pgbaton apply -force for this once. pgbaton status says who froze it, and why.",
	},
	{
		RecordLost, "record-lost", "What was done before is not known",
		"The record in the state folder is missing or can't be read.",
		"The daemon is made to follow once more: a reload too many is harmless, one too few is not.",
		"Nothing, unless it comes back: then see what clears the state folder.",
	},
	{
		HookFailed, "hook-failed", "on_leader_change failed",
		"The command that runs after a change of leader ended with another code than 0, or did not end in 30 s.",
		"Nothing else changes, and it is not run again for this change.",
		"The log has its output. Run it by hand with the environment that docs/config.md lists.",
	},
	{
		TwoWriters, "two-writers", "Two members take writes",
		"A member that does not have the leader key was seen out of recovery beside the one that has it: a split brain.",
		"It follows the leader that the key names, and says so until it is over.",
		"Stop PostgreSQL on the member that does not lead, see what it took in, then let it rejoin the cluster.",
	},
	{
		LeaderRefused, "leader-refused", "The leader key is not believed",
		"The key is older than the one that was confirmed, as after a restore of the store, or it names a server that is on an earlier timeline.",
		"The confirmed leader stays. The other counts once it takes writes itself, on a timeline at least as high.",
		"Compare patronictl list and patronictl history with pgbaton status.",
	},
	{
		WayFails, "way-fails", "A way to confirm a leader does not work",
		"At the start each way of confirm is tried on the member that leads; this one failed.",
		"The other ways count. With none left, no new leader would be confirmed.",
		"Correct the cluster's api or sql block, or leave the way out of confirm.",
	},
	{
		HoldGivenUp, "hold-given-up", "Traffic is not held any longer",
		"hold_timeout has passed, too many clients wait, or the daemon refuses to hold.",
		"Clients go on, and get the errors that there are. The cluster is not held again until its leadership is steady.",
		"See why there is no leader: patronictl list. A longer hold_timeout needs a longer query_wait_timeout of pgbouncer.",
	},
	{
		StaysHeld, "stays-held", "Traffic can't be released",
		"The daemon does not answer, or refuses to let its clients go on.",
		"It is tried again every few moments; what is held is in the state folder, so that a restart goes on with it.",
		"pgbaton release. By hand: RESUME in the console of pgbouncer.",
	},
	{
		Uncut, "uncut", "Sessions may hang on the leader of before",
		"The daemon follows the new leader, and what is connected to one that hangs could not be ended.",
		"New sessions go to the new leader. Those that hang end when TCP gives up, after a minute by the built-in templates.",
		"Give pgbaton CAP_NET_ADMIN (examples/systemd has a drop-in), or end them by hand: KILL and RESUME in the console of pgbouncer.",
	},
	{
		NoneRuns, "none-runs", "No pgbaton runs",
		"A verb that asks the pgbaton that runs found none with this config or state folder.",
		"Nothing was changed.",
		"Start it, or name its -config or -state-dir.",
	},
	{
		NoSocket, "no-socket", "The control socket can't be opened or asked",
		"The state folder can't be written, too many pgbatons share it, or the one that runs does not answer.",
		"Everything else goes on; pgbaton status, freeze, thaw and apply do not reach it.",
		"The log of the one that runs says why. Give each its own state_dir.",
	},
	{
		Forbidden, "forbidden", "You may look, and change nothing",
		"Whoever asked is neither root nor pgbaton's user nor in the group of the status block.",
		"Nothing was changed.",
		"Run it as one of those, or set group in the status block.",
	},
	{
		NoListener, "no-listener", "The status listener can't be opened",
		"Its address is in use, or not one of this machine.",
		"Everything else goes on. It is tried again every two seconds.",
		"Set listen in the status block to an address that is free, or to \"\" for none.",
	},
	{
		ChildFails, "child-fails", "The child process failed",
		"The program of the exec block could not be started or ended, or ended with another code than 0.",
		"pgbaton ends when its child does, with the same code.",
		"Run the command by hand, as pgbaton's user.",
	},
	{
		NoDoctor, "no-doctor", "pgbaton doctor can't listen",
		"The port of its health check is in use, by the pgDoctor of before perhaps, or http_address is none of this machine.",
		"It ends. Under systemd it is started again.",
		"See what listens there: ss -ltnp. Stop it, or set another http_port, and in the balancer too.",
	},
	{
		Unwell, "unwell", "A server does not pass its checks",
		"pgbaton doctor has told a balancer that a PostgreSQL server is not well. The reasons stand beside it.",
		"It answers 500 with the reasons until the checks pass, and looks anew at each request.",
		"pgbaton doctor -once runs the checks by hand. Where a check is wrong and not the server, docs/doctor.md says how checks are read.",
	},
	{
		Usage, "usage", "The command line is not understood",
		"A verb, a flag or its value is unknown, or two flags exclude each other.",
		"Nothing was done.",
		"pgbaton VERB -help lists the flags of a verb, with an example.",
	},
	{
		FileExists, "file-exists", "The file is there already",
		"pgbaton init and pgbaton report do not write over what somebody wrote.",
		"Nothing was written.",
		"-out names another file, -out - prints; init -force writes over it.",
	},
	{
		OtherStore, "other-store", "Patroni's store can't be read",
		"Patroni keeps its keys in Kubernetes, in Raft, in Exhibitor or in etcd by its old API, which pgbaton does not read.",
		"Nothing was written.",
		"The README says which stores work. A state file that something else keeps up to date works with each.",
	},
	{
		PatroniFile, "patroni-file", "Patroni's config can't be used",
		"The file that -from-patroni names is not there, is no YAML, or names no scope or store.",
		"Nothing was written.",
		"Name the file that the patroni which runs was started with, or -patroni SCOPE and -consul ADDRESS instead.",
	},
}
