package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// shown is what 'tillstream status --json' prints, as far as these tests look at it.
type shown struct {
	OK         bool `json:"ok"`
	Partitions []struct {
		Stage     string `json:"stage"`
		Partition int    `json:"partition"`
		Owner     string `json:"owner"`
		State     string `json:"state"`
		Behind    *int64 `json:"behind"`
		Reason    string `json:"reason"`
		Remedy    string `json:"remedy"`
	} `json:"partitions"`
}

// command runs the program's command and returns its exit code and what it printed.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, args...)
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatalf("%v: %v", args, err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// status asks the processes at the addresses, without any the world's own.
func (w *world) status(t *testing.T, addresses ...string) (code int, s shown) {
	t.Helper()
	if len(addresses) == 0 {
		addresses = []string{w.management}
	}
	args := []string{"status", "--json"}
	for _, a := range addresses {
		args = append(args, "--address", a)
	}
	code, out, errs := command(t, args...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("status: %v: %q %q", err, out, errs)
	}
	if s.OK != (code == 0) {
		t.Errorf("ok is %v with exit code %d", s.OK, code)
	}
	return code, s
}

// states is each partition of a stage by its number: its state, and its reason where it has one.
func (s shown) states(stage string) map[int]string {
	out := map[int]string{}
	for _, p := range s.Partitions {
		if p.Stage == stage {
			out[p.Partition] = strings.TrimSpace(p.State + " " + p.Reason)
		}
	}
	return out
}

// awaitStates waits until a stage's partitions are as wanted: regular expressions by number, all of them.
func (w *world) awaitStates(t *testing.T, stage string, want map[int]string, addresses ...string) {
	t.Helper()
	w.await(t, fmt.Sprintf("status shows %s as %v", stage, want), func() error {
		_, s := w.status(t, addresses...)
		got := s.states(stage)
		ok := len(got) == len(want)
		for n, state := range want {
			ok = ok && regexp.MustCompile("^("+state+")$").MatchString(got[n])
		}
		if !ok {
			return fmt.Errorf("status: %v", got)
		}
		return nil
	})
}

// metric sums the series of a metric whose labels hold the words; a series that is not there counts nothing.
func (w *world) metric(t *testing.T, name string, words ...string) (sum float64) {
	t.Helper()
	resp, err := http.Get("http://" + w.management + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rest, ok := strings.CutPrefix(series, name); !ok || rest != "" && rest[0] != '{' {
			continue
		}
		holds := true
		for _, word := range words {
			holds = holds && strings.Contains(series, word)
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && holds {
			sum += v
		}
	}
	return sum
}

// healthy reports whether the program's loops turn.
func (w *world) healthy(t *testing.T) bool {
	t.Helper()
	resp, err := http.Get("http://" + w.management + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
