package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Trim gives back the pages of the program's own file that were read so far. Most are of
// what runs once, at the start; what is needed again comes back from the page cache. It
// returns how many bytes they were.
func Trim() (int, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("trim memory: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, fmt.Errorf("trim memory: %w", err)
	}
	given := 0
	for _, m := range clean(maps, self) {
		// No slice, and no pointer: the garbage collector has no part in this memory.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return given, fmt.Errorf("trim memory: %w", errno)
		}
		given += m.resident
	}
	return given, nil
}

// mapping is a part of the memory.
type mapping struct {
	from, to uintptr
	resident int // bytes
}

// clean are the mappings of a file that hold what is in it and nothing else: they can't be
// written, and never were, as those are that a loader relocates.
func clean(smaps []byte, file string) []mapping {
	var all []mapping
	var at *mapping // nil: of no concern
	lines := bufio.NewScanner(bytes.NewReader(smaps))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-") && !strings.HasSuffix(fields[0], ":"):
			at = nil
			if len(fields) == 6 && fields[5] == file && strings.HasPrefix(fields[1], "r-") {
				from, to, _ := strings.Cut(fields[0], "-")
				begin, err := strconv.ParseUint(from, 16, 64)
				end, also := strconv.ParseUint(to, 16, 64)
				if err == nil && also == nil && end > begin {
					all = append(all, mapping{from: uintptr(begin), to: uintptr(end)})
					at = &all[len(all)-1]
				}
			}
		case at == nil || len(fields) != 3:
		case fields[0] == "Rss:":
			kb, _ := strconv.Atoi(fields[1])
			at.resident = kb << 10
		case fields[0] == "Anonymous:" && fields[1] != "0":
			all, at = all[:len(all)-1], nil
		}
	}
	return all
}
