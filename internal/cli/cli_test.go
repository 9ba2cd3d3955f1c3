package cli_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/testscript"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tillstream/tillstream/api"
	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/cli"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tillstream": func() {
		os.Exit(cli.Main(context.Background(), cli.Process{
			Args: os.Args[1:], Getenv: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now,
		}))
	}})
}

// TestScripts runs testdata/script/*.txtar. Besides testscript's own commands there are
//
//	code N COMMAND...    runs COMMAND and wants exit code N; stdout and stderr then look at its output
//	hold NAME            takes a port on loopback, and sets NAME to its number
//	example FOLDER       copies examples/config into FOLDER, and sets the variables that it names
//	serve NAME STATUS [RESUME]
//	                     serves the file STATUS as a management port's /status, and sets NAME to its address; RESUME holds
//	                     lines "PATH CODE JSON", the answers to posts that have the header
//	twin ROOTS           starts a simulated PayPal; see there
//	crm                  starts a simulated ActiveCampaign with the key right-key; see there
//	management NAME LIST serves the file LIST as a process that runs connections, and sets NAME to its address
//	schema FILE DOC      wants the YAML file DOC to be good by the JSON Schema in FILE
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "hold": hold, "example": example, "schema": schema, "serve": serve, "twin": twin, "crm": crm, "management": runs,
		},
	})
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exited interface{ ExitCode() int }
	if e, ok := err.(interface{ ExitCode() int }); ok {
		exited = e
		got = exited.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code: got %d, want %s", got, args[0])
	}
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: serve NAME STATUS [RESUME]")
	}
	status, mux := ts.ReadFile(args[1]), http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, status) })
	if len(args) == 3 {
		for line := range strings.Lines(ts.ReadFile(args[2])) {
			fields := strings.SplitN(line, " ", 3)
			code, err := strconv.Atoi(fields[1])
			ts.Check(err)
			mux.HandleFunc("POST "+fields[0], func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get(api.ActionHeader) == "" {
					code = http.StatusForbidden
				}
				w.WriteHeader(code)
				fmt.Fprint(w, fields[2])
			})
		}
	}
	srv := httptest.NewServer(mux)
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Listener.Addr().String())
}

func example(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: example FOLDER")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS("../../examples/config")))
	for name, value := range map[string]string{
		"TILLSTREAM_INSTANCE": "one", "CLICKHOUSE_PASSWORD": "made-up", "PAYPAL_CLIENT_ID": "made-up", "PAYPAL_CLIENT_SECRET": "made-up",
		"ACTIVECAMPAIGN_URL": "https://account.api-us1.com", "ACTIVECAMPAIGN_KEY": "made-up", "ACTIVECAMPAIGN_EVENT_ACCOUNT": "1000001",
		"ACTIVECAMPAIGN_EVENT_KEY": "made-up", "PUBLIC_URL": "https://hooks.example.com",
	} {
		ts.Setenv(name, value)
	}
}

func schema(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] schema FILE DOC")
	}
	text, err := validator.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	c := validator.NewCompiler()
	ts.Check(c.AddResource(filepath.Base(args[0]), text))
	s, err := c.Compile(filepath.Base(args[0]))
	ts.Check(err)
	b, err := yaml.YAMLToJSON([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	var doc any
	ts.Check(json.Unmarshal(b, &doc))
	err = s.Validate(doc)
	switch {
	case err != nil && !neg:
		ts.Fatalf("%s is refused: %v", args[1], err)
	case err == nil && neg:
		ts.Fatalf("%s is accepted", args[1])
	}
}
