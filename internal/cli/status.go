package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/schemas"
)

// Exit codes of status besides ExitOK.
const (
	ExitNotRunning = 1 // something asked for does not run: a partition, a part of a process
	ExitCannotAsk  = 2 // a process does not answer, and the others show nothing wrong
)

const (
	askTimeout     = 5 * time.Second
	statusBytesMax = 16 << 20
	watchPause     = 2 * time.Second
	defaultAddress = "127.0.0.1:9080"
)

// asked is which processes a command talks to.
type asked struct {
	addresses []string
	config    string
}

func (a *asked) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&a.addresses, "address", nil, "management port of a process, host:port, or https://host:port where it has a certificate; repeat it for several (default "+defaultAddress+")")
	c.Flags().StringVar(&a.config, "config", "", "configuration folder whose management.listen to ask")
}

// resolve is the list of addresses to ask.
func (a *asked) resolve(p Process) ([]string, error) {
	list := a.addresses
	if a.config != "" {
		cfg, err := p.loadConfig(a.config, p.Getenv)
		if err != nil {
			return nil, err
		}
		list = append([]string{ownPort(cfg.Settings.Management)}, list...)
	}
	if len(list) == 0 {
		list = []string{defaultAddress}
	}
	out := make([]string, len(list))
	for i, address := range list {
		rest, secure := strings.CutPrefix(address, "https://")
		host, port, err := net.SplitHostPort(rest)
		if err != nil || port == "" {
			return nil, &codedError{ExitUsage, fmt.Errorf("--address %q: write host:port, for example %s, or https://host:port", address, defaultAddress)}
		}
		if host == "" || host == "0.0.0.0" || host == "::" { // it listens everywhere, here too
			host = "127.0.0.1"
		}
		if out[i] = net.JoinHostPort(host, port); secure {
			out[i] = "https://" + out[i]
		}
	}
	return out, nil
}

// management asks management ports. It takes no proxy: these are addresses inside.
var management = &http.Client{Timeout: askTimeout, Transport: managementPorts}

// said is what one process answered; err where it did not.
type said struct {
	address string
	err     error
	at      time.Time
	process map[string]string
	ready   bool
	parts   []saidPart
}

type saidPart struct {
	Name    string          `json:"name"`
	Ready   bool            `json:"ready"`
	Reason  string          `json:"reason"`
	Reasons []string        `json:"reasons"`
	Status  json.RawMessage `json:"status"`
	Stage   *struct {
		Name  string     `json:"name"`
		Group *api.Group `json:"group"`
	} `json:"stage"`
}

// askAll asks every address at the same time.
func askAll(ctx context.Context, addresses []string) []said {
	out := make([]said, len(addresses))
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() { out[i] = askStatus(ctx, address) })
	}
	wg.Wait()
	return out
}

func askStatus(ctx context.Context, address string) said {
	s := said{address: address}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, portURL(address, "/status"), nil)
	if err != nil {
		s.err = err
		return s
	}
	resp, err := management.Do(req)
	if err != nil {
		s.err = plain(err)
		return s
	}
	defer resp.Body.Close()
	var body struct {
		At      time.Time         `json:"at"`
		Ready   bool              `json:"ready"`
		Process map[string]string `json:"process"`
		Parts   []saidPart        `json:"parts"`
	}
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		s.err = refusedBy(address, resp.Status, json.NewDecoder(io.LimitReader(resp.Body, statusBytesMax)))
		return s
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, statusBytesMax)).Decode(&body)
	if err != nil || resp.StatusCode != http.StatusOK || body.Process == nil {
		s.err = fmt.Errorf("what answers there is no management port of Tillstream (%s)", resp.Status)
		return s
	}
	s.at, s.ready, s.process, s.parts = body.At, body.Ready, body.Process, body.Parts
	return s
}

// plain is the cause of a failed request without the method and address before it.
func plain(err error) error {
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w; ask it by the name that its certificate has, and let SSL_CERT_FILE name the authority's file where it is your own", untrusted)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("no answer within %v", askTimeout)
	case errors.As(err, &op):
		return op.Err
	default:
		return err
	}
}

func (p Process) statusCommand() *cobra.Command {
	var a asked
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status [--address HOST:PORT]... [--config DIR]",
		Short: "Show each partition: who has it, whether it runs, how far behind it is, and what to do",
		Long: `Asks the management port of each process and shows one table of all partitions. A process knows only its own
partitions in full; name every process to see all of them. Kafka's group tells who has the others, or that nobody has.

Exit code 0: everything runs. 1: a partition or a part does not run, or nobody has a partition. 2: a process does not answer.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			addresses, err := a.resolve(p)
			if err != nil {
				return err
			}
			for {
				b := merge(askAll(c.Context(), addresses))
				if c.Context().Err() != nil {
					return nil
				}
				if watch && isTerminal(c.OutOrStdout()) {
					fmt.Fprint(c.OutOrStdout(), "\x1b[H\x1b[2J")
				}
				if asJSON {
					err = json.NewEncoder(c.OutOrStdout()).Encode(b)
				} else {
					err = b.print(c.OutOrStdout())
				}
				if err != nil || !watch {
					return errors.Join(err, b.verdict())
				}
				select {
				case <-c.Context().Done():
					return b.verdict()
				case <-time.After(watchPause):
				}
			}
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object (with --watch: one a line)")
	c.Flags().BoolVar(&watch, "watch", false, "show it again every 2 s until it is interrupted")
	return c
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p Process) resumeCommand() *cobra.Command {
	var a asked
	var told answering
	var stage string
	var partition int32
	c := &cobra.Command{
		Use:   "resume [destination NAME | connection NAME | --stage NAME --partition N]",
		Short: "Let go on what is paused, or a stalled partition, once its cause is mended",
		Long: `'resume destination NAME' and 'resume connection NAME' end what 'tillstream pause' began.

With --stage and --partition: a partition that stalled on something that does not pass by itself (tillstream status says on what, and what to do)
waits for this command. Name every process, or the one that has the partition.

Exit code 0: it was stalled and recovers now. 1: there was nothing to resume, or none of the processes has it. 2: no process answers.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if stage == "" || partition < 0 {
				return &codedError{ExitUsage, errors.New("say what: destination NAME, connection NAME, or --stage NAME --partition N as 'tillstream status' shows them")}
			}
			addresses, err := a.resolve(p)
			if err != nil {
				return err
			}
			got, err := resume(c.Context(), addresses, stage, partition)
			if err != nil {
				return err
			}
			return told.end(c, got, func(w io.Writer) { fmt.Fprintln(w, got.Detail) })
		},
	}
	a.flags(c)
	c.AddCommand(p.pauseOne(schemas.PauseDestination, false), p.pauseOne(schemas.PauseConnection, false))
	told.flag(c)
	c.Flags().StringVar(&stage, "stage", "", "name of the stage: orders or automation")
	c.Flags().Int32Var(&partition, "partition", -1, "number of the partition")
	return c
}

// resume asks one process after the other until one has the partition.
func resume(ctx context.Context, addresses []string, stage string, partition int32) (api.Resumption, error) {
	var refusals, silent []string
	for _, address := range addresses {
		got, err := askResume(ctx, address, stage, partition)
		switch {
		case err != nil:
			silent = append(silent, fmt.Sprintf("%s does not answer: %v", address, err))
		case got.Outcome == api.Resumed:
			return got, nil
		case got.Outcome == api.NotStalled:
			return got, errors.New(got.Detail)
		default:
			refusals = append(refusals, got.Detail)
		}
	}
	if len(refusals) == 0 {
		return api.Resumption{}, &codedError{ExitCannotAsk, errors.New(strings.Join(silent, "\n"))}
	}
	return api.Resumption{}, errors.New(strings.Join(append(refusals, silent...), "\n"))
}

func askResume(ctx context.Context, address, stage string, partition int32) (got api.Resumption, err error) {
	path := portURL(address, fmt.Sprintf("/api/v1/stages/%s/partitions/%d/resume", url.PathEscape(stage), partition))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	if err != nil {
		return got, err
	}
	req.Header.Set(api.ActionHeader, "resume")
	resp, err := management.Do(req)
	if err != nil {
		return got, plain(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, statusBytesMax))
	if err != nil {
		return got, plain(err)
	}
	if resp.StatusCode != http.StatusOK {
		err := refusedBy(address, resp.Status, json.NewDecoder(bytes.NewReader(text)))
		var p *api.Problem
		if errors.As(err, &p) && (p.Code == api.CodeNotOwned || p.Code == api.CodeNotStalled) {
			return api.Resumption{Outcome: string(p.Code), Detail: p.Detail}, nil
		}
		return got, err
	}
	if err := json.Unmarshal(text, &got); err != nil || got.Outcome == "" {
		return got, fmt.Errorf("what answers there is no management port of Tillstream that can resume (%s)", resp.Status)
	}
	return got, nil
}
