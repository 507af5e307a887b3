package setup

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// page is a config as it is written.
type page struct{ text strings.Builder }

// say writes a comment, a line for each of its lines.
func (p *page) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		p.text.WriteString("# " + strings.TrimSpace(line) + "\n")
	}
}

func (p *page) gap() { p.text.WriteString("\n") }

// open begins a block, or a map; close ends it.
func (p *page) open(head string) { p.text.WriteString(head + " {\n") }
func (p *page) close()           { p.text.WriteString("}\n") }

// set writes a setting, and why it says what it says.
func (p *page) set(name string, value any, why string) {
	p.text.WriteString(name + " = " + literal(value))
	if why != "" {
		p.text.WriteString(" # " + why)
	}
	p.text.WriteString("\n")
}

func (p *page) String() string { return string(hclwrite.Format([]byte(p.text.String()))) }

// literal is a value as HCL has it.
func literal(value any) string {
	v := cty.NilVal
	switch value := value.(type) {
	case string:
		v = cty.StringVal(value)
	case int:
		v = cty.NumberIntVal(int64(value))
	case float64:
		v = cty.NumberFloatVal(value)
	case bool:
		v = cty.BoolVal(value)
	case []string:
		list := make([]cty.Value, len(value))
		for i, text := range value {
			list[i] = cty.StringVal(text)
		}
		v = cty.TupleVal(list)
	}
	return string(hclwrite.TokensForValue(v).Bytes())
}
