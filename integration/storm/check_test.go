package storm

import (
	"strings"
	"testing"
	"time"
)

// told makes a history of a few lines, one event in each: what, when, and what else
// its kind needs. It begins with pg1, which leads and is shown.
func told(t *testing.T, text string) History {
	t.Helper()
	h := History{
		Hold: 2 * time.Second, Ports: map[string]string{"pg1": "1", "pg2": "2", "pg3": "3"},
		Files: map[string]File{
			"pool": {Target: pooler, Mode: "0640", Leader: leadsTo},
			"app":  {Target: app, Mode: "0640", Leader: leadsTo},
		},
	}
	for _, line := range strings.Split("promoted 0s pg1\nled 0s pg1\nfound 0s pool port=1\nfound 0s app port=1\nsource 0s app port=PORT\n"+text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		at, err := time.ParseDuration(f[1])
		if err != nil {
			t.Fatal(err)
		}
		e := Event{Kind: Kind(f[0]), Begun: at, At: at}
		switch e.Kind {
		case Led, Promoted, Stopped:
			e.Member = f[2]
		case Row: // from until member
			e.Member = f[3]
			if e.At, err = time.ParseDuration(f[2]); err != nil {
				t.Fatal(err)
			}
		case Found:
			e.File, e.Content, e.Mode = f[2], f[3], "0640"
			if len(f) > 4 {
				e.Mode, e.By = f[4], strings.Join(f[5:], " ")
			}
		case Checked, Loaded:
			e.Target, e.Content = app, f[2]
		case Claimed:
			e.Target = pooler
		case Paused, Operator, Frozen:
			e.Name, e.Target, e.Is = f[2], f[2], f[3] == "yes"
		case Source:
			e.File, e.Wants = f[2], f[3]
		case Settled:
			e.Is, e.Note = f[2] == "yes", "why"
		case Died, Did:
		}
		h.Events = append(h.Events, e)
	}
	return h
}

func leadsTo(content string) string {
	if _, port, found := strings.Cut(content, "port="); found && strings.Contains("123", port) {
		return "pg" + port
	}
	return ""
}

const moved = "stopped 1s pg1\nled 2s pg2\npromoted 3s pg2\nfound 4s pool port=2\nfound 4s app port=2\n"

// looks is one look at the pooler each 100 ms.
func looks(from, to time.Duration, is string) string {
	var b strings.Builder
	for at := from; at <= to; at += 100 * time.Millisecond {
		b.WriteString("paused " + at.String() + " app " + is + "\n")
	}
	return b.String()
}

func TestCheckFindsNothingInAGoodHistory(t *testing.T) {
	for name, text := range map[string]string{
		"nothing happens":                        "row 1s 2s pg1",
		"the leader moves":                       moved + "row 1s 4s pg2\nclaimed 5s\nrow 6s 7s pg2",
		"and comes back":                         moved + "row 5s 6s pg2\nled 7s pg1\npromoted 7s pg1\nfound 8s pool port=1\nclaimed 8s\nrow 9s 9s pg1",
		"a row that began before":                moved + "row 1s 5s pg1\nclaimed 5s",
		"a hold in time":                         looks(0, 4*time.Second, "yes"),
		"two holds":                              looks(0, 4*time.Second, "yes") + looks(4100*time.Millisecond, 4200*time.Millisecond, "no") + looks(4300*time.Millisecond, 8*time.Second, "yes"),
		"a pooler that says nothing for a while": looks(0, 3*time.Second, "yes") + looks(20*time.Second, 21*time.Second, "yes"),
		"what was checked is loaded":             "checked 1s x\nloaded 2s x",
		"other hands":                            "found 1s app junk 0600 hand\nloaded 2s junk",
		"an operator's pause":                    "operator 1s app yes\npaused 2s app yes\npaused 3s app yes\noperator 4s app no\npaused 5s app no",
		"a pause of what is held":                "paused 1s ops yes\noperator 2s ops yes\npaused 3s ops no",
		"a pause that meets a hold":              "operator 1s ops yes\npaused 1020ms app yes\npaused 1030ms ops yes\npaused 1040ms ops no",
		"a frozen target":                        "frozen 1s " + app + " yes\nfrozen 9s " + app + " no\nloaded 10s x\nchecked 9s x",
		"it settles":                             "settled 1s yes",
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range Check(told(t, text)) {
				t.Error(v)
			}
		})
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct{ text, rule string }{
		"a row to the old leader after a claim":        {moved + "claimed 5s\nrow 6s 7s pg1", "no row goes to a leader of before"},
		"a row to the old leader after one to the new": {moved + "row 4s 5s pg2\nrow 6s 7s pg1", "no row goes to a leader of before"},
		"a row to one that never led":                  {"row 1s 2s pg3", "no row goes to a leader of before"},
		"the file goes back":                           {moved + "found 5s pool port=1", "the leader never goes back"},
		"the file is ahead":                            {"found 1s pool port=2\nled 2s pg2", "the leader never goes back"},
		"a leader in recovery":                         {"led 2s pg2\nfound 3s pool port=2\npromoted 4s pg2", "a leader is shown once it takes writes"},
		"a leader that was, and is no more":            {moved + "stopped 5s pg2\nled 6s pg3\nfound 7s app port=3", "a leader is shown once it takes writes"},
		"half a file":                                  {"found 1s pool po", "a file is whole"},
		"another file":                                 {"found 2s app odd,port=1", "a file is what its template yields"},
		"a file of before":                             {"source 1s app two,port=PORT\nfound 2s app two,port=1\nfound 3s app port=1", "no change of a template is lost"},
		"a wider file":                                 {"found 1s app port=1 0644", "its mode is as asked"},
		"loaded unchecked":                             {"checked 1s x\nloaded 2s y", "what is loaded was checked"},
		"a hold past its deadline":                     {looks(0, 6*time.Second, "yes"), "a hold ends by its deadline"},
		"an operator's pause undone":                   {"operator 1s ops yes\npaused 2s ops no", "what an operator paused stays paused"},
		"a frozen target changes":                      {"frozen 1s " + app + " yes\nled 2s pg2\npromoted 2s pg2\nfound 9s app port=2", "a frozen target does not change"},
		"a frozen target is loaded":                    {"frozen 1s " + app + " yes\nchecked 9s x\nloaded 9s x", "a frozen target does not change"},
		"it does not settle":                           {"settled 1s no", "everything settles in the end"},
		"it ends":                                      {"died 1s", "it never ends by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range Check(told(t, test.text)) {
				if v.Rule == test.rule {
					return
				}
				t.Logf("it found %s", v)
			}
			t.Errorf("it does not find that %q is broken", test.rule)
		})
	}
}
