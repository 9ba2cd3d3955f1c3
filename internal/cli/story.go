package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
	"github.com/tillstream/tillstream/simulators/paypal"
	"github.com/tillstream/tillstream/simulators/story"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// show writes for people.
type show struct {
	mu    sync.Mutex
	out   io.Writer
	now   func() time.Time
	began time.Time
}

func (s *show) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%7.1fs  %s\n", s.now().Sub(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *show) text(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, text)
}

// demo is one run of the story.
type demo struct {
	o         demoOptions
	cluster   *local.Cluster
	cfg       *config.Config
	addresses app.Addresses
	show      *show
	process   Process
}

// demoResult is every count of the story.
type demoResult struct {
	audit.Counts
	FirstContactSeconds float64 `json:"first_contact_seconds"`
	Seconds             float64 `json:"seconds"`
	LatencyP50          float64 `json:"latency_p50_ms"` // webhook accepted -> first answer of the CRM
	LatencyP99          float64 `json:"latency_p99_ms"`
	PeakRSS             int     `json:"peak_rss_mb"`
}

func (d *demo) play(running context.Context) error {
	ctx, cancel := context.WithTimeout(running, d.o.timeout)
	defer cancel()
	db, err := clickhouse.Open(d.cluster.ClickHouse())
	if err != nil {
		return fmt.Errorf("clickhouse: %w", err)
	}
	defer db.Close()
	if err := d.ready(ctx); err != nil {
		return err
	}
	began := d.process.Now()
	first := make(chan float64, 1)
	go func() { first <- d.firstContact(ctx) }()
	if err := d.tellStory(ctx, began); err != nil {
		return err
	}
	d.show.line("All deliveries are acknowledged. Waiting for the last ones to reach the CRM and ClickHouse ...")
	report, err := d.settle(ctx, db)
	if err != nil {
		return err
	}
	r := demoResult{Counts: report.Counts, Seconds: d.process.Now().Sub(began).Seconds()}
	select {
	case r.FirstContactSeconds = <-first:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.LatencyP50, r.LatencyP99, err = latency(ctx, db); err != nil {
		return err
	}
	r.PeakRSS = peakRSS()
	if err := d.tell(ctx, db, report, r); err != nil {
		return err
	}
	if d.o.json {
		if err := d.result(r); err != nil {
			return err
		}
	}
	if !d.o.exit {
		d.show.text("\nIt stays up to be looked at; Ctrl-C stops it.")
		<-running.Done()
	}
	if report.Lost+report.Doubled > 0 {
		return &codedError{ExitDisagree, fmt.Errorf("%d lost, %d doubled: %s", report.Lost, report.Doubled, strings.Join(report.Findings[:min(3, len(report.Findings))], "; "))}
	}
	return nil
}

// tellStory sends what PayPal and every shop have to tell, at once, until all of it is acknowledged.
func (d *demo) tellStory(ctx context.Context, began time.Time) error {
	events := story.New(story.Options{
		Seed: d.o.Seed, Orders: d.o.orders, Accounts: []string{"paypal-eu", "paypal-us"},
		Start: began.AddDate(-1, -2, 0),
	}).Events()
	inShops := max(2, d.o.orders/shopShare)
	d.show.line("Everything runs. PayPal sends %d events of %d orders and subscriptions, and %d shops those of %d orders each, some twice, some late, some out of order ...",
		len(events), d.o.orders, len(d.cluster.Shops), inShops)
	sending, ctx := errgroup.WithContext(ctx)
	sending.Go(func() error {
		if err := d.send(ctx, events); err != nil {
			return err
		}
		if err := d.cluster.PayPal.Wait(ctx); err != nil {
			return fmt.Errorf("wait for PayPal's deliveries: %w", err)
		}
		return nil
	})
	for _, shop := range d.cluster.Shops {
		sending.Go(func() error {
			if err := trade(ctx, shop.Twin, story.ShopOrders(d.o.Seed, shop.Connection, inShops)); err != nil {
				return fmt.Errorf("%s: %w", shop.Connection, err)
			}
			return nil
		})
	}
	return sending.Wait()
}

// ready waits until every part says that it is.
func (d *demo) ready(ctx context.Context) error {
	url := "http://" + d.addresses.Management + "/readyz"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("not ready: %s", body)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *demo) send(ctx context.Context, events []story.Event) error {
	var pace <-chan time.Time
	if d.o.rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / d.o.rate))
		defer ticker.Stop()
		pace = ticker.C
	}
	for i, e := range events {
		if pace != nil {
			select {
			case <-pace:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := d.cluster.PayPal.Emit(ctx, e.Account, paypal.Event{ID: e.ID, Type: e.Type, Body: e.Body, CreateTime: e.Time}); err != nil {
			return fmt.Errorf("send event %s: %w", e.ID, err)
		}
		if n := i + 1; n%2000 == 0 {
			d.show.line("%d of %d events sent", n, len(events))
		}
	}
	return nil
}

// shopShare: each shop has one order for so many of PayPal's.
const shopShare = 10

// trade plays the orders of one shop, step by step over all of them, so that their events mix, and waits until the
// shop has told everything.
func trade(ctx context.Context, shop simulators.Shop, orders []story.ShopOrder) error {
	ids := make([]string, len(orders))
	for i, o := range orders {
		id, err := shop.Place(ctx, o.Order)
		if err != nil {
			return fmt.Errorf("place an order: %w", err)
		}
		ids[i] = id
	}
	for step, more := 0, true; more; step++ {
		// Stores date a change to the second: two of one order within it could not be told apart.
		if err := clock.System().Sleep(ctx, 1100*time.Millisecond); err != nil {
			return err
		}
		more = false
		for i, o := range orders {
			if step >= len(o.Steps) {
				continue
			}
			more = true
			if err := do(ctx, shop, ids[i], o.Steps[step]); err != nil {
				return fmt.Errorf("order %s: %w", ids[i], err)
			}
		}
	}
	if err := shop.Wait(ctx); err != nil {
		return fmt.Errorf("wait for its deliveries: %w", err)
	}
	return nil
}

func do(ctx context.Context, shop simulators.Shop, id string, s story.Step) error {
	switch s.Deed {
	case story.Pay:
		return shop.Pay(ctx, id)
	case story.Fail:
		return shop.Fail(ctx, id)
	case story.Cancel:
		return shop.Cancel(ctx, id)
	case story.Refund:
		return shop.Refund(ctx, id, s.Amount)
	}
	return fmt.Errorf("a story has no deed %d", s.Deed)
}

// firstContact watches the CRM for its first contact and returns the seconds since the start of the process.
func (d *demo) firstContact(ctx context.Context) float64 {
	for {
		var stats struct {
			FirstContact time.Time `json:"first_contact"`
		}
		if err := audit.GetJSON(ctx, http.DefaultClient, d.cluster.CRMURL+"/_simulator/stats", &stats); err == nil && !stats.FirstContact.IsZero() {
			seconds := stats.FirstContact.Sub(d.show.began).Seconds()
			d.show.line("The first contact is in the CRM, %.1f s after the start.", seconds)
			return seconds
		}
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// settlePatience is how long nothing may move before what is missing counts as lost.
const settlePatience = 30 * time.Second

// storyCounts are counts that are cheap to ask for while the story runs.
type storyCounts struct{ Events, Ends, Commands, Deliveries, Waits uint64 }

func readProgress(ctx context.Context, db driver.Conn) (n storyCounts, err error) {
	err = db.QueryRow(ctx, `SELECT (SELECT count() FROM events), (SELECT count() FROM transitions) + (SELECT countIf(stage = 'orders') FROM dead_letters),
		(SELECT count() FROM commands), (SELECT countIf(outcome NOT IN ('INTENT', 'RETRYABLE')) FROM deliveries),
		(SELECT countIf(state = 'OPEN') FROM v_waits)`).Scan(&n.Events, &n.Ends, &n.Commands, &n.Deliveries, &n.Waits)
	if err != nil {
		return n, fmt.Errorf("progress: %w", err)
	}
	return n, nil
}

// settle waits until the counts stand still and agree, then compares in full. What is still missing when nothing has
// moved for settlePatience is lost.
func (d *demo) settle(ctx context.Context, db driver.Conn) (audit.Report, error) {
	var last storyCounts
	moved := d.process.Now()
	for {
		n, err := readProgress(ctx, db)
		if err != nil {
			return audit.Report{}, err
		}
		now := d.process.Now()
		if n != last {
			last, moved = n, now
			d.show.line("ends of events %d of %d, CRM commands done %d of %d, %d workflows wait for a payment", n.Ends, n.Events, n.Deliveries, n.Commands, n.Waits)
		}
		still := now.Sub(moved)
		if patient := still < settlePatience; !patient || still > time.Second && n.Ends >= n.Events && n.Deliveries >= n.Commands && n.Waits == 0 {
			report, err := d.compare(ctx, db)
			if err != nil || report.Lost == 0 || !patient {
				return report, err
			}
		}
		select {
		case <-ctx.Done():
			return audit.Report{}, fmt.Errorf("the story is not through after %s: %w (ends of events %d of %d, CRM commands done %d of %d)",
				d.o.timeout, ctx.Err(), n.Ends, n.Events, n.Deliveries, n.Commands)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (d *demo) compare(ctx context.Context, db driver.Conn) (audit.Report, error) {
	outside, err := audit.ReadOutside(ctx, d.cluster.HTTP(), d.cluster.PayPalURL, d.cluster.CRMURL)
	if err != nil {
		return audit.Report{}, err
	}
	outside.Promises = audit.TemplatePromises
	for _, shop := range d.cluster.Shops {
		for _, o := range shop.Twin.Orders() {
			outside.Orders = append(outside.Orders, audit.ShopOrder{
				RootKey: schemas.RootKey(schemas.Sandbox, shop.Connection, o.ID), Status: string(o.Status), Refunded: o.Refunded, Email: o.Email,
			})
		}
		accepted, _ := shop.Twin.Sent()
		outside.Accepted += accepted
	}
	records, err := audit.Records(ctx, d.cfg.Settings.Kafka)
	if err != nil {
		return audit.Report{}, err
	}
	inside, err := audit.Read(ctx, db, records)
	if err != nil {
		return audit.Report{}, err
	}
	return audit.Compare(outside, inside), nil
}

// latency is the time from a webhook's acceptance to the CRM's first answer about its contact.
func latency(ctx context.Context, db driver.Conn) (p50, p99 float64, err error) {
	q := `SELECT quantile(0.5)(ms), quantile(0.99)(ms) FROM (
		SELECT dateDiff('millisecond', min(e.received_at), min(d.first)) AS ms
		FROM (SELECT event_id, min(received_at) AS received_at FROM events GROUP BY event_id) AS e
		INNER JOIN (SELECT event_id, min(request_at[1]) AS first FROM deliveries WHERE length(request_at) > 0 GROUP BY event_id) AS d USING (event_id)
		GROUP BY event_id)`
	if err := db.QueryRow(ctx, q).Scan(&p50, &p99); err != nil {
		return 0, 0, fmt.Errorf("latency: %w", err)
	}
	return p50, p99, nil
}

// tell prints the counts, one order's trace, one report and where to look.
func (d *demo) tell(ctx context.Context, db driver.Conn, report audit.Report, r demoResult) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	agree := func(ok bool) string {
		if ok {
			return "agrees"
		}
		return "DOES NOT AGREE"
	}
	ends := r.Applied + r.Duplicates + r.Ignored + r.DeadLetters
	fmt.Fprintf(tw, "\n  received (2xx)\t%d\t= published on Kafka %d\t%s\n", r.Received, r.Published, agree(r.Received <= r.Published))
	fmt.Fprintf(tw, "  every event's end\t%d\t= applied %d (late %d) + duplicates %d + without effect %d + dead letters %d\t%s\n", ends, r.Applied, r.Late, r.Duplicates, r.Ignored, r.DeadLetters, agree(ends == r.Published))
	fmt.Fprintf(tw, "  status changes\t%d\t\t\n", r.Transitions)
	fmt.Fprintf(tw, "  CRM commands\t%d\t= deliveries %d\t%s\n", r.Commands, r.Deliveries, agree(r.Commands == r.Deliveries))
	fmt.Fprintf(tw, "  contacts at the CRM\t%d\t= expected %d\t%s\n", r.Contacts, r.Expected, agree(r.Contacts == r.Expected))
	fmt.Fprintf(tw, "  runs of workflows\t%d\t= waits met %d + not met %d + open %d, and runs that wait for nothing\t\n", r.Runs, r.WaitsMet, r.WaitsNotMet, r.WaitsOpen)
	fmt.Fprintf(tw, "  messages sent\t%d\tlist changes %d, questions about lists %d\t\n", r.Messages, r.ListChanges, r.Questions)
	fmt.Fprintf(tw, "  rows in ClickHouse\t%d\t\t\n", r.Rows)
	fmt.Fprintf(tw, "  lost\t%d\t\t\n  doubled\t%d\t\n", r.Lost, r.Doubled)
	fmt.Fprintf(tw, "  webhook to CRM\tp50 %.0f ms\tp99 %.0f ms\t\n", r.LatencyP50, r.LatencyP99)
	fmt.Fprintf(tw, "  %.1f s\tpeak %d MB\tall parts and simulators in one process\t\n", r.Seconds, r.PeakRSS)
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range report.Findings {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	store, err := chsink.Open(ctx, chsink.Options{Client: d.cluster.ClickHouse(), Now: d.process.Now, Log: d.o.Log})
	if err != nil {
		return err
	}
	defer store.Close()
	id, err := exampleOrder(ctx, db)
	if err != nil {
		return err
	}
	tr, err := store.Trace(ctx, id)
	if err != nil {
		return err
	}
	if len(tr.Hops) > 0 {
		fmt.Fprintf(&b, "\nOne order's way (tillstream trace %s):\n\n", id)
		printTrace(&b, tr, 40)
	}
	if err := d.explained(ctx, &b, store); err != nil {
		return err
	}
	result, err := store.Query(ctx, "SELECT * FROM v_revenue_daily ORDER BY ALL LIMIT 12", chsink.Limits{})
	if err != nil {
		return err
	}
	b.WriteString("\nA report (SELECT * FROM v_revenue_daily):\n\n")
	if err := printResult(&b, result, "table"); err != nil {
		return err
	}
	b.WriteString("\nTo look at:\n" + strings.Join(addressLines(d.cluster, d.addresses), "\n"))
	d.show.text(b.String())
	return nil
}

// exampleOrder is one that was approved, paid and refunded, of a customer with few others; else any with several changes.
func exampleOrder(ctx context.Context, db driver.Conn) (id string, err error) {
	err = db.QueryRow(ctx, `SELECT root_id FROM transitions GROUP BY root_id
		ORDER BY has(groupArray(to_status), 'REFUNDED') AND has(groupArray(to_status), 'PAID') DESC, countIf(disposition = 'CHANGED') > 1 DESC, count(), root_id LIMIT 1`).Scan(&id)
	if err != nil {
		return "", fmt.Errorf("choose an order to trace: %w", err)
	}
	return id, nil
}

// peakRSS is the largest resident size of this process, in MB.
func peakRSS() int {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb / 1024
		}
	}
	return 0
}
