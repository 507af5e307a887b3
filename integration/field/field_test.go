package field

import "testing"

// TestField plays one scene after the other on the same cluster, which each leaves
// whole.
func TestField(t *testing.T) {
	s := newStage(t)
	t.Run("partitions", func(t *testing.T) { partitions(t, s) })
	t.Run("failovers", func(t *testing.T) { failovers(t, s) })
	t.Run("exhausted", func(t *testing.T) { exhausted(t, s) })
	t.Run("bad lines", func(t *testing.T) { badLines(t, s) })
}
