// Renders chat templates in Go's language with Go's own text/template, as Ollama does, for scripts/verify/go-templates.ts.
// usage: go run go_templates.go < IN.json    (IN: [{ "template": text, "messages": [{ "Role", "Content" }] }]; prints the texts)
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

func main() {
	var cases []struct {
		Template string
		Messages []message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	texts := []string{}
	for _, one := range cases {
		var text strings.Builder
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(one.Template))
		if err := parsed.Execute(&text, map[string]any{"Messages": one.Messages}); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(texts); err != nil {
		panic(err)
	}
}
