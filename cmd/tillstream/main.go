// Command tillstream turns payment events into customer action. See the README.
package main

import (
	"context"
	"os"
	"time"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/cli"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.Process{
		Args: os.Args[1:], Getenv: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now,
	}))
}
