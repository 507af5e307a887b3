package proc

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestTrim: this very program goes on without what was read of it, and reads it again.
func TestTrim(t *testing.T) {
	given, err := Trim()
	if err != nil || given < 100<<10 {
		t.Errorf("gave back %d bytes: %v", given, err)
	}
	if again, err := Trim(); err != nil || again == 0 || again >= given {
		t.Errorf("then %d of %d: %v", again, given, err)
	}
}

// TestClean: nothing is given back that a file does not hold.
func TestClean(t *testing.T) {
	smaps := strings.Join([]string{
		"00400000-00401000 r-xp 00000000 08:01 17 /usr/bin/pgbaton", "Rss:  4 kB", "Anonymous:  0 kB", "VmFlags: rd ex mr",
		"00401000-00403000 r--p 00001000 08:01 17 /usr/bin/pgbaton", "Rss:  8 kB", "Anonymous:  4 kB", // relocated
		"00403000-00404000 rw-p 00003000 08:01 17 /usr/bin/pgbaton", "Rss:  4 kB", "Anonymous:  0 kB",
		"00404000-00405000 r--p 00004000 08:01 17 /usr/bin/pgbaton", "Rss:  0 kB", "Anonymous:  0 kB",
		"00405000-00406000 r--p 00004000 08:01 18 /usr/bin/other", "Rss:  4 kB", "Anonymous:  0 kB",
		"00406000-00407000 r--p 00004000 08:01 17 /usr/bin/pgbaton (deleted)", "Rss:  4 kB", "Anonymous:  0 kB",
		"c000000000-c000400000 rw-p 00000000 00:00 0", "Rss: 2000 kB", "Anonymous: 2000 kB",
		"7ffe-7fff r-xp 00000000 00:00 0 [vdso]", "Rss: 4 kB", "Anonymous: 0 kB", "",
	}, "\n")
	want := []mapping{{0x400000, 0x401000, 4 << 10}, {0x404000, 0x405000, 0}}
	if got := clean([]byte(smaps), "/usr/bin/pgbaton"); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	own, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	if got := clean(own, "/nowhere"); len(got) > 0 {
		t.Errorf("of a file that is not there: %+v", got)
	}
}
