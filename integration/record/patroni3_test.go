//go:build record

package record

import "testing"

// TestRecordPatroni3 plays scenes of the life of a cluster, each on a cluster of
// its own. A scene has one file or more, named as it is.
func TestRecordPatroni3(t *testing.T) {
	for _, scene := range []struct {
		name string
		play func(t *testing.T)
	}{
		{"bootstrap", bootstrap},
		{"steady", steady},
		{"pause", pause},
		{"synchronous", synchronous},
		{"standby-cluster", standbyCluster},
		{"crash", crash},
		{"restart", restart},
		{"restart-slow", restartSlow},
		{"reinit", reinit},
		{"rebuilt", rebuilt},

		{"switchover", switchover},
		{"failover", failover},
		{"failover-leaderless", failoverLeaderless},
		{"scheduled", scheduled},
		{"scheduled-cancelled", scheduledCancelled},
		{"called-off", calledOff},
		{"other-candidate", otherCandidate},
		{"failed-promotion", failedPromotion},
		{"failed-promotion-back", failedPromotionBack},
		{"twice", twice},
		{"twice-crashed", twiceCrashed},

		{"flap", flap},
		{"flap-deleted", flapDeleted},
		{"flap-expired", flapExpired},
		{"outage", outage},
		{"failsafe", failsafe},
		{"failsafe-expired", failsafeExpired},
		{"restored", restored},
		{"restored-dead", restoredDead},
	} {
		t.Run(scene.name, scene.play)
	}
}
