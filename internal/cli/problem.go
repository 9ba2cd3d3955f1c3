package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/connections"
)

// refusedBy is the problem that a management port answered with, as an error that says what to do.
func refusedBy(address, status string, dec *json.Decoder) error {
	var said api.Problem
	if err := dec.Decode(&said); err != nil || said.Code == "" {
		return fmt.Errorf("what answers at %s is no management port of Tillstream, or one of another version (%s)", address, status)
	}
	switch said.Code {
	case api.CodeConfigRefused:
		lines := []string{said.Detail + ":"}
		for _, p := range said.Problems {
			lines = append(lines, p.String())
		}
		return &codedError{ExitConfig, errors.New(strings.Join(lines, "\n"))}
	case api.CodeInvalid, api.CodeNotFound, api.CodeConflict, api.CodeCheckBad, api.CodeFailed:
		return &connections.Refusal{Kind: connections.RefusalKind(said.Code), Detail: said.Detail, Findings: said.Findings}
	}
	return fmt.Errorf("%s: %w", address, remedied(&said))
}

// remedied is a problem with what to do about it, in one line.
func remedied(p *api.Problem) error {
	if p.Remedy == "" || strings.Contains(p.Detail, p.Remedy) {
		return p
	}
	return fmt.Errorf("%w; %s", p, p.Remedy)
}
