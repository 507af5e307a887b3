package metrics

import "github.com/pgbaton/pgbaton/internal/status"

// What a cluster may be, and what alarms of it there are.
var (
	phases = []string{"unknown", "starting", "steady", "switching", "lost", "leaderless", "promoting"}
	alarms = []string{status.AlarmTwoWriters, status.AlarmRefused}
)

// perCluster shows something of each cluster.
func perCluster(show func(c status.Cluster, put put)) func(status.Status, put) {
	return func(s status.Status, put put) {
		for _, c := range s.Clusters {
			show(c, put)
		}
	}
}

// perReplica shows something of each replica.
func perReplica(show func(cluster string, r status.Replica, put put)) func(status.Status, put) {
	return perCluster(func(c status.Cluster, put put) {
		for _, r := range c.Replicas {
			show(c.Name, r, put)
		}
	})
}

var ofClusters = []gauge{
	{
		"pgbaton_cluster_phase", "1 for the phase that the cluster is in, 0 for the others",
		[]string{"cluster", "phase"},
		perCluster(func(c status.Cluster, put put) { oneOf(put, c.Phase, phases, c.Name) }),
	},
	{
		"pgbaton_cluster_phase_since_timestamp_seconds", "since when the cluster is in its phase, in Unix time",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { unix(put, c.Since, c.Name) }),
	},
	{
		"pgbaton_cluster_leader_info", "1 for the confirmed leader, and how it was confirmed",
		[]string{"cluster", "leader", "confirmed_by"},
		perCluster(func(c status.Cluster, put put) {
			if c.Leader != nil {
				put(1, c.Name, c.Leader.Name, c.By)
			}
		}),
	},
	{
		"pgbaton_cluster_leader_since_timestamp_seconds", "when the leader was confirmed, by this process, in Unix time",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { unix(put, c.Reigns, c.Name) }),
	},
	{
		"pgbaton_cluster_term", "index of the confirmed leader's key: rises with each term",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { put(float64(c.Created), c.Name) }),
	},
	{
		"pgbaton_cluster_timeline", "PostgreSQL's timeline of the confirmed leader; 0 if it is not known",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { put(float64(c.Timeline), c.Name) }),
	},
	{
		"pgbaton_cluster_paused", "1 if Patroni is in its pause mode",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { put(flag(c.Paused), c.Name) }),
	},
	{
		"pgbaton_cluster_standby", "1 if the whole cluster follows another one",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { put(flag(c.Standby), c.Name) }),
	},
	{
		"pgbaton_cluster_alarm", "1 for each kind of alarm that there is, 0 for the others",
		[]string{"cluster", "kind"},
		perCluster(func(c status.Cluster, put put) {
			raised := map[string]bool{}
			for _, a := range c.Alarms {
				raised[a.Kind] = true
			}
			for _, kind := range alarms {
				put(flag(raised[kind]), c.Name, kind)
			}
		}),
	},
	{
		"pgbaton_cluster_unreadable_keys", "how many keys of the cluster can't be read",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { put(float64(len(c.Problems)), c.Name) }),
	},
	{
		"pgbaton_cluster_staleness_seconds", "for how long keys of the cluster could not be confirmed; 0 if they are",
		[]string{"cluster"},
		func(s status.Status, put put) {
			for _, c := range s.Clusters {
				put(staleness(s, c.Stale), c.Name)
			}
		},
	},
	{
		"pgbaton_cluster_replicas", "how many replicas the cluster has",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) { put(float64(len(c.Replicas)), c.Name) }),
	},
	{
		"pgbaton_cluster_replicas_serving", "how many replicas of the cluster serve",
		[]string{"cluster"},
		perCluster(func(c status.Cluster, put put) {
			n := 0.0
			for _, r := range c.Replicas {
				n += flag(r.Serves)
			}
			put(n, c.Name)
		}),
	},
	{
		"pgbaton_replica_serves", "1 if the replica serves: templates see it as one",
		[]string{"cluster", "member"},
		perReplica(func(cluster string, r status.Replica, put put) { put(flag(r.Serves), cluster, r.Name) }),
	},
	{
		"pgbaton_replica_sync", "1 if the replica is a synchronous standby",
		[]string{"cluster", "member"},
		perReplica(func(cluster string, r status.Replica, put put) { put(flag(r.Sync), cluster, r.Name) }),
	},
	{
		"pgbaton_replica_fit", "1 if every probe of the replica passes",
		[]string{"cluster", "member"},
		perReplica(func(cluster string, r status.Replica, put put) { put(flag(r.Fit), cluster, r.Name) }),
	},
	{
		"pgbaton_probe_fit", "1 if the probe of the member passes; left out before its first answer",
		[]string{"cluster", "member", "probe"},
		perCluster(func(c status.Cluster, put put) {
			if c.Leader != nil {
				answered(c.Probes, func(p status.Probe) { put(flag(p.Fit), c.Name, c.Leader.Name, p.Name) })
			}
			for _, r := range c.Replicas {
				answered(r.Probes, func(p status.Probe) { put(flag(p.Fit), c.Name, r.Name, p.Name) })
			}
		}),
	},
	{
		"pgbaton_replica_delay_seconds", "the replica shows all that was committed longer ago; left out if no probe tells",
		[]string{"cluster", "member"},
		perReplica(func(cluster string, r status.Replica, put put) {
			if r.Delay != nil {
				put(*r.Delay, cluster, r.Name)
			}
		}),
	},
	{
		"pgbaton_replica_lag_bytes", "how far the replica is behind the leader, as of their last heartbeats or a probe; left out if it is not known",
		[]string{"cluster", "member"},
		perReplica(func(cluster string, r status.Replica, put put) {
			if r.LagBytes != nil {
				put(float64(*r.LagBytes), cluster, r.Name)
			}
		}),
	},
}

// answered hands on the probes that have had an answer.
func answered(probes []status.Probe, do func(status.Probe)) {
	for _, p := range probes {
		if !p.Since.IsZero() {
			do(p)
		}
	}
}
