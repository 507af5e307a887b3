package integration

import (
	"os"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// binary is the pgbaton under test, with the race detector in it.
var binary string

func TestMain(m *testing.M) { os.Exit(servertest.Main(m, &binary, "-race")) }
