package chaos

import (
	"os"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// binary is the pgbaton under test. It has no race detector: each of thousands
// of its starts would wait for it.
var binary string

func TestMain(m *testing.M) { os.Exit(servertest.Main(m, &binary)) }
