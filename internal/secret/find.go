package secret

import (
	"regexp"
	"strings"
)

// form is a way in which a secret is written down. One of its groups is the
// secret; with the group "name" there, that has to be a secret's name.
type form struct {
	trigger []string // in lower case: a line without any of them has none, and costs nothing
	match   *regexp.Regexp
}

// words are parts of the names of secrets.
const words = `password|passwd|passphrase|secret|token|auth_pass|stats_auth|http_auth|(?:api|access|storage|libsodium|pgp)_?key|credential`

var named = []string{"passw", "passphrase", "secret", "token", "auth", "key", "credential"}

var ways = []form{
	// NAME = VALUE and NAME=VALUE in HCL, INI, environments, connection strings and queries.
	{named, regexp.MustCompile(`(?i)(?P<name>[\w.-]*(?:` + words + `)[\w.-]*)["']?\s*=\s*\\?(?:"((?:[^"\\]|\\.)+)|'((?:[^'\\]|\\.|'')+)|([^\s"'&\\][^\s"'&,;)}\]]*))`)},
	// "NAME": "VALUE" in JSON.
	{named, regexp.MustCompile(`(?i)(?P<name>[\w.-]*(?:` + words + `)[\w.-]*)\\?"\s*:\s*\\?"((?:[^"\\]|\\[^"])+)`)},
	// NAME: VALUE in YAML, alone on its line.
	{named, regexp.MustCompile(`(?im)^[\s-]*(?P<name>[\w.-]*(?:` + words + `)[\w.-]*):[ \t]+["']?([^\s"'][^\n"']*)`)},
	// HAProxy's and keepalived's.
	{[]string{"password", "auth"}, regexp.MustCompile(`(?i)\b(?:insecure-password|auth_pass|stats\s+auth\s+[^\s:]+:|\buser\s+\S+\s+password)\s*(?:"([^"]+)|'([^']+)|([^\s"']+))`)},
	{[]string{"authorization"}, regexp.MustCompile(`(?i)authorization\W+(?:basic|bearer)\s+([A-Za-z0-9+/=._~-]+)`)},
	// userlist.txt's.
	{[]string{`"`}, regexp.MustCompile(`(?m)^\s*"(?:[^"]|"")*"\s+"((?:[^"\n]|"")+)"`)},
	// What servers keep in the place of passwords.
	{[]string{"scram-sha-256$", "md5", "$"}, regexp.MustCompile(`(SCRAM-SHA-256\$[A-Za-z0-9+/=:$]+|\bmd5[0-9a-f]{32}\b|\$(?:1|5|6|2[aby]|y)\$[A-Za-z0-9./$=,+-]{12,})`)},
	// A URL's.
	{[]string{"://"}, regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@"']*:([^@\s/"']+)@`)},
}

// wholeLines are forms of lines that hold one secret, with whatever signs, and no other.
var wholeLines = []form{
	// A properties file's, up to the end of its line.
	{[]string{"password="}, regexp.MustCompile(`(?m)^(?:dataSource\.)?password=(\S.*)$`)},
	// A line of .pgpass: host, port, database, user, password.
	{[]string{":"}, regexp.MustCompile(`(?m)^(?:[^:\\\s]|\\.)+:(?:\d{3,5}|\*)(?::(?:[^:\\\s]|\\.)(?:[^:\\\n]|\\.)*){2}:((?:[^:\\\s]|\\.)(?:[^:\\\n]|\\.)*)$`)},
}

// names of what only looks like a secret's: where one is, or of what kind.
var harmless = regexp.MustCompile(`(?i)(?:file|path|dir|type|query|encryption|method|user|name|url|count|_id|timeout|ttl)$`)

// key begins or ends a private key in PEM.
var key = regexp.MustCompile(`-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----`)

var isName = regexp.MustCompile(`(?i)` + words)

// Names says whether a name is a secret's.
func Names(name string) bool { return isName.MatchString(name) && !harmless.MatchString(name) }

// Find lists the secrets that stand in a text, in order.
func Find(text string) []string {
	var all []string
	conceal(text, func(v string) string {
		all = append(all, v)
		return v
	})
	return all
}

// conceal replaces the secrets of a text, a line at a time.
func conceal(text string, with func(secret string) string) string {
	var out strings.Builder
	private := false
	for line := range strings.Lines(text) {
		if m := key.FindStringSubmatch(line); m != nil {
			private = m[1] == "BEGIN"
		} else if private && strings.TrimSpace(line) != "" {
			body := strings.TrimSpace(line)
			line = strings.Replace(line, body, with(body), 1)
		}
		out.WriteString(concealLine(line, with))
	}
	return out.String()
}

func concealLine(line string, with func(string) string) string {
	lower := strings.ToLower(line)
	for _, way := range wholeLines {
		if way.triggered(lower) && way.match.MatchString(line) {
			return way.replace(line, with)
		}
	}
	for _, way := range ways {
		if way.triggered(lower) {
			line = way.replace(line, with)
		}
	}
	return line
}

func (f form) triggered(lower string) bool {
	for _, t := range f.trigger {
		if strings.Contains(lower, t) {
			return true
		}
	}
	return false
}

// replace puts something else into the place of each secret.
func (f form) replace(line string, with func(string) string) string {
	var out strings.Builder
	at, name := 0, f.match.SubexpIndex("name")
	for _, m := range f.match.FindAllStringSubmatchIndex(line, -1) {
		if name >= 0 && harmless.MatchString(line[m[2*name]:m[2*name+1]]) {
			continue
		}
		for group := 1; group < len(m)/2; group++ {
			from, to := m[2*group], m[2*group+1]
			// What a template has in a secret's place is none, and what is hidden is hidden.
			if group == name || from < 0 || strings.Contains(line[from:to], "{{") || strings.HasPrefix(line[from:to], "<hidden") {
				continue
			}
			out.WriteString(line[at:from])
			out.WriteString(with(line[from:to]))
			at = to
		}
	}
	out.WriteString(line[at:])
	return out.String()
}
