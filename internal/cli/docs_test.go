package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

// The documents are held to the program in four ways. Blocks are told apart by the words behind the backticks:
//
//	```sh run         TestCommandsOfDocsRun runs each line against one embedded process (dev), and wants exit code 0
//	```text shown     follows such a block: each of its lines must be in what the last command printed; ... stands for anything
//	```json data/F    (any language, and a path) is written to that file first; it is how a reader's own file comes about
//	```sh, or none    TestCommandsOfDocsParse: every line that begins with tillstream is a command that there is, with flags
//	                  that it has and as many arguments as it takes. It is not run: it needs an account, or a cluster
//	```yaml           one that begins with a comment "# workflows/NAME.yaml" (or mappings/, connections/, destinations/) is a
//	                  file of a configuration: TestFilesOfDocsPassTheCheck puts all of one section into a copy of examples/config

// block is one fenced block.
type block struct {
	file, section string
	line          int
	info          string
	text          string
}

func (b block) at() string { return fmt.Sprintf("%s:%d", filepath.Base(b.file), b.line) }

// documents are all pages that users read.
func documents(t *testing.T) []string {
	t.Helper()
	pages := []string{"../../README.md"}
	for _, pattern := range []string{docsFolder + "/*.md", "../../connectors/*/README.md", "../../sinks/*/README.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, files...)
	}
	return pages
}

var fenceHead = regexp.MustCompile("^ *```+")

// blocksOf are the fenced blocks of a page, and those that are indented by four blanks.
func blocksOf(t *testing.T, file string) []block {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	section, open := "", ""
	for n, line := range strings.Split(string(text), "\n") {
		fence := strings.TrimSpace(fenceHead.FindString(line))
		switch {
		case open == "" && fence != "":
			open = fence
			all = append(all, block{file: file, section: section, line: n + 1, info: strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), fence))})
		case open != "" && strings.TrimSpace(line) == open:
			open = ""
		case open != "":
			all[len(all)-1].text += line + "\n"
		case strings.HasPrefix(line, "## "):
			section = line
		case strings.HasPrefix(line, "    tillstream "):
			all = append(all, block{file: file, section: section, line: n + 1, text: strings.TrimSpace(line) + "\n"})
		}
	}
	if open != "" {
		t.Errorf("%s: a block is not closed", file)
	}
	return all
}

var commandLine = regexp.MustCompile(`^(?:\$ )?(?:[a-z0-9-]+ .*\| )?(?:bin/)?tillstream( |$)`)

// commandsOf are the command lines of a block, each as its words. What stands behind " #", or behind a gap, is an explanation.
func commandsOf(b block) [][]string {
	if strings.HasPrefix(b.info, "text") || strings.HasPrefix(b.info, "json") || strings.HasPrefix(b.info, "yaml") {
		return nil
	}
	joined := strings.ReplaceAll(b.text, "\\\n", " ")
	var all [][]string
	for _, line := range strings.Split(joined, "\n") {
		line = strings.TrimSpace(line)
		loc := commandLine.FindStringIndex(line)
		if loc == nil {
			continue
		}
		if words := shellWords(line[loc[1]:]); words != nil {
			all = append(all, words)
		}
	}
	return all
}

// shellWords splits as a shell does: quotation marks, and an end at a comment, a pipe or a redirection.
func shellWords(line string) []string {
	words, word, quote, begun := []string{}, "", rune(0), false
	gap := 0
	flush := func() {
		if begun {
			words = append(words, word)
		}
		word, begun = "", false
	}
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word += string(r)
			}
			continue
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ':
			flush()
			gap++
			continue
		case !begun && (r == '#' || r == '|' || r == '>' || r == '&' || r == ';'):
			return words
		case gap >= 3 && !begun && r != '-' && r != '\\':
			return words // an explanation in a column of its own
		default:
			word, begun = word+string(r), true
		}
		gap = 0
	}
	flush()
	return words
}

// parse finds the command that words name, and has it look at its flags and arguments without doing anything.
func parse(root *cobra.Command, words []string) error {
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		if strings.Contains(err.Error(), "help requested") {
			return nil
		}
		return err
	}
	args := c.Flags().Args()
	if c.HasSubCommands() && len(args) > 0 && !strings.Contains(c.Use, "[") {
		return fmt.Errorf("%q has no command %q", c.CommandPath(), args[0])
	}
	return c.ValidateArgs(args)
}

// placeholders are words in capitals where a reader writes something: a number, a time and a word fit most flags.
var placeholders = map[string]string{"HOST:PORT": "127.0.0.1:9080", "N": "1", "T": "3d", "...": ""}

func TestCommandsOfDocsParse(t *testing.T) {
	found := 0
	for _, file := range documents(t) {
		if filepath.Base(file) == "cli.md" {
			continue // made from the commands themselves; its examples are held by their help
		}
		for _, b := range blocksOf(t, file) {
			for _, words := range commandsOf(b) {
				found++
				_, root := program()
				for i, w := range words {
					if p, ok := placeholders[w]; ok {
						words[i] = p
					}
				}
				if err := parse(root, words); err != nil {
					t.Errorf("%s: tillstream %s: %v", b.at(), strings.Join(words, " "), err)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d commands found", found)
	}
}

var fileComment = regexp.MustCompile(`^# (?:[a-z-]+/)?((?:connections|destinations|mappings|workflows)/[a-z0-9-]+\.yaml)\s*\n`)

// TestFilesOfDocsPassTheCheck: a reader copies them. Findings of the check are as bad as refusals.
func TestFilesOfDocsPassTheCheck(t *testing.T) {
	found := 0
	files, _ := filepath.Glob(docsFolder + "/*.md")
	for _, file := range files {
		sections := map[string][]block{}
		for _, b := range blocksOf(t, file) {
			if strings.HasPrefix(b.info, "yaml") && fileComment.MatchString(b.text) {
				sections[b.section] = append(sections[b.section], b)
			}
		}
		for section, list := range sections {
			found += len(list)
			dir := filepath.Join(t.TempDir(), "config")
			if err := os.CopyFS(dir, os.DirFS("../../examples/config")); err != nil {
				t.Fatal(err)
			}
			for _, b := range list {
				write(t, filepath.Join(dir, fileComment.FindStringSubmatch(b.text)[1]), b.text)
			}
			code, out, errs := docsRun(t.Context(), "check", "--config", dir, "--offline")
			if code != ExitOK {
				t.Errorf("%s, %s: exit code %d\n%s%s", list[0].at(), section, code, out, errs)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d files found", found)
	}
}

// secretOfDocs is in a form that every kind of secret may have; addresses and ids are given one of theirs.
func secretOfDocs(name string) (string, bool) {
	switch {
	case strings.HasPrefix(name, "TILLSTREAM_DEV"), name == "TILLSTREAM_TOKEN", name == "TILLSTREAM_AGE_KEY":
		return "", false
	case strings.HasSuffix(name, "_URL"):
		return "https://example.api-us1.com", true
	}
	return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true
}

func docsRun(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs safeBuffer
	code = Main(ctx, Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Getenv: secretOfDocs,
	})
	return code, out.String(), errs.String()
}

// safeBuffer is written by a running process while a test reads it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// docsWait is how long a command may take until what it asks about has arrived in ClickHouse.
const docsWait = 60 * time.Second

// TestCommandsOfDocsRun plays the reader: it starts what the page starts, writes the page's files and runs its commands.
func TestCommandsOfDocsRun(t *testing.T) {
	pages := map[string][]block{}
	for _, file := range documents(t) {
		for _, b := range blocksOf(t, file) {
			if strings.HasPrefix(b.info, "sh run") {
				pages[file] = blocksOf(t, file)
			}
		}
	}
	if len(pages) == 0 {
		t.Fatal("no page has a block to run")
	}
	dir := t.TempDir()
	startDev(t, filepath.Join(dir, "data"))
	t.Chdir(dir)
	ran := 0
	for _, file := range sortedKeys(pages) {
		last := ""
		for _, b := range pages[file] {
			words := strings.Fields(b.info)
			switch {
			case len(words) == 2 && words[1] == "run":
				for _, command := range commandsOf(b) {
					last = docsPatiently(t, b, command)
					ran++
				}
			case len(words) == 2 && words[1] == "shown":
				showsAll(t, b, last)
			case len(words) == 2:
				write(t, words[1], b.text)
			}
		}
	}
	if ran < 10 {
		t.Errorf("only %d commands were run", ran)
	}
}

// startDev runs what getting started begins with, as a process of its own (ClickHouse's library takes one folder for each
// process) and on free ports.
func startDev(t *testing.T, data string) {
	t.Helper()
	args := []string{"dev", "--data", data}
	for _, part := range []string{"ingest", "management", "kafka", "registry", "redis", "clickhouse", "paypal", "crm"} {
		args = append(args, "--"+part+"-port", "0")
	}
	var out, errs safeBuffer
	dev := exec.Command("tillstream", args...) // the test's own binary: see TestMain
	dev.Stdout, dev.Stderr = &out, &errs
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.Wait() }()
	for until := time.Now().Add(docsWait); !strings.Contains(out.String(), "Ctrl-C stops it"); {
		select {
		case err := <-ended:
			if strings.Contains(errs.String(), "libchdb") && !strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb") {
				t.Skip(errs.String())
			}
			t.Fatalf("dev ended: %v\n%s", err, errs.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(until) {
			_ = dev.Process.Kill()
			t.Fatalf("dev is not up: %s%s", out.String(), errs.String())
		}
	}
	t.Cleanup(func() {
		if err := dev.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("dev ended: %v\n%s", err, errs.String())
		}
	})
}

// docsPatiently runs a command until it succeeds: what it asks about may still be on its way.
func docsPatiently(t *testing.T, b block, command []string) string {
	t.Helper()
	for until := time.Now().Add(docsWait); ; {
		code, out, errs := docsRun(t.Context(), command...)
		if code == ExitOK {
			return out
		}
		if time.Now().After(until) || code == ExitUsage {
			t.Fatalf("%s: tillstream %s: exit code %d\n%s%s", b.at(), strings.Join(command, " "), code, out, errs)
		}
		<-time.After(200 * time.Millisecond)
	}
}

// showsAll wants each line of a page's block in what was printed, in any order; runs of blanks count as one.
func showsAll(t *testing.T, b block, printed string) {
	t.Helper()
	have := strings.Join(strings.Fields(printed), " ")
	for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
		rest := have
		for _, piece := range strings.Split(line, "...") {
			piece = strings.Join(strings.Fields(piece), " ")
			at := strings.Index(rest, piece)
			if at < 0 {
				t.Errorf("%s: %q is not in what was printed:\n%.2000s", b.at(), piece, printed)
				break
			}
			rest = rest[at+len(piece):]
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var (
	linkOf    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	headingOf = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
	spanOf    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	targetOf  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchorsOf are the anchors of a page's headings.
func anchorsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(string(text), "")
	anchors, times := map[string]bool{}, map[string]int{}
	for _, m := range headingOf.FindAllStringSubmatch(plain, -1) {
		a := slug(targetOf.ReplaceAllString(m[1], "$1"))
		if n := times[a]; n > 0 {
			anchors[fmt.Sprintf("%s-%d", a, n)] = true
		} else {
			anchors[a] = true
		}
		times[a]++
	}
	return anchors
}

// TestLinksOfDocsLead: to a file that is there, and to a heading that it has.
func TestLinksOfDocsLead(t *testing.T) {
	found := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkOf.FindAllStringSubmatch(spanOf.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			found++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
				continue
			}
			if anchor != "" && !anchorsOf(t, target)[anchor] {
				t.Errorf("%s links to %s, which has no such heading", file, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links found", found)
	}
}

// TestEveryPageIsReached: from the list of pages.
func TestEveryPageIsReached(t *testing.T) {
	list, err := os.ReadFile(filepath.Join(docsFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(docsFolder + "/*.md")
	for _, file := range files {
		if name := filepath.Base(file); name != "README.md" && !bytes.Contains(list, []byte("("+name+")")) {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
	for _, c := range connectorsall.Connectors().All() {
		text, err := os.ReadFile(filepath.Join(docsFolder, "connect-"+c.Type+".md"))
		if err != nil {
			t.Errorf("the connector %s has no page that shows how to connect it: %v", c.Type, err)
		} else if !bytes.Contains(text, []byte("../connectors/"+c.Type+"/README.md")) {
			t.Errorf("docs/connect-%s.md does not lead to the connector's own page", c.Type)
		}
	}
	var sample map[string]any
	for _, b := range blocksOf(t, filepath.Join(docsFolder, "errors.md")) {
		if err := json.Unmarshal([]byte(b.text), &sample); err != nil {
			t.Errorf("%s: %v", b.at(), err)
		}
	}
}
