package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/pipeline/limits"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
	"github.com/tillstream/tillstream/web/browsertest"
	"github.com/tillstream/tillstream/web/webtest"
)

// deadline is that of the waits of the story: what counts down has something left for as long as anybody runs the tests.
var deadline = time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC)

func checkout() connections.ResourceView {
	return connections.ResourceView{ID: "checkout-order-approved", Title: "Checkout order approved", EventTypes: []string{"CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.*"}}
}

func billing() connections.ResourceView {
	return connections.ResourceView{ID: "billing-subscription", Title: "Billing subscription events", EventTypes: []string{"BILLING.SUBSCRIPTION.*", "PAYMENT.SALE.*"}}
}

// paypal is a connection of the story.
func paypal(name, say string) connections.View {
	return connections.View{
		Name: name, Type: "paypal", Title: "PayPal", Environment: schemas.Live, State: connections.StateRunning, File: "connections/" + name + ".yaml",
		Resources: []connections.ResourceView{checkout(), billing()}, LastEventAt: webtest.At, CompleteUpTo: webtest.At, CheckedAt: webtest.At,
		Webhook:  &connections.WebhookView{Address: "https://hooks.example.com/" + name, ID: "8PT597110X687430L", Used: 3, Limit: 10, RegisteredAt: webtest.At},
		Findings: []connections.FindingView{{Level: "warn", Message: "3 of the app's 10 webhooks are taken " + say, Hint: "remove those that nobody uses"}},
		Alarms:   []connections.Alarm{{Kind: "silence", Since: webtest.At, What: "nothing came for 6 h " + say, Remedy: "look at the webhook"}},
	}
}

func crm(name, say string) destinations.View {
	return destinations.View{
		Name: name, Type: "activecampaign", Title: "ActiveCampaign", State: connections.StateRunning, File: "destinations/" + name + ".yaml", RatePerSecond: 5,
		Account: &destinations.AccountView{ID: "acme", Name: "Acme " + say, User: "a***@example.com"}, Alarms: []connections.Alarm{},
	}
}

// manage puts an account, a CRM, a mapping and a workflow behind the routes of management; rows of each list, and say where
// a text comes from outside.
func manage(srv *webtest.Server, rows int, say string) {
	srv.TellStory(min(rows, 30), say)
	var sources []connections.View
	var crms []destinations.View
	for i := range max(rows, 1) {
		suffix := ""
		if i > 0 {
			suffix = fmt.Sprintf("-%d", i+1)
		}
		if rows > 0 {
			sources = append(sources, paypal("paypal-eu"+suffix, say))
		}
		if rows > 0 && i < 2 {
			crms = append(crms, crm("crm"+suffix, say))
		}
	}
	fields := []connections.FieldView{{Name: "subscription.plan_id", Label: "Plan id " + say, Type: "text", Sample: "P-5ML4271244454362WXNWU5NQ"}}
	srv.Set("GET /api/v1/connectors", api.ConnectorList{Connectors: []connections.ConnectorView{{
		Type: "paypal", Title: "PayPal", Resources: []connections.ResourceView{checkout(), billing()}, Fields: fields,
		Settings: []connections.Setting{{Key: "client_id", Type: "text"}, {Key: "client_secret", Type: "text", Secret: true}, {Key: "base_url", Type: "text"}},
	}}})
	srv.Set("GET /api/v1/sinks", api.SinkList{Sinks: []destinations.SinkView{{
		Type: "activecampaign", Title: "ActiveCampaign", RatePerSecond: 5, Settings: []connections.Setting{{Key: "url", Type: "text"}, {Key: "key", Type: "text", Secret: true}},
	}}})
	srv.Set("GET /api/v1/connections", func(a webtest.Asked) webtest.Answer {
		if a.Path != "/api/v1/connections" {
			return paypal("paypal-eu", say)
		}
		return api.ConnectionList{Folder: "config", Connections: orEmpty(sources)}
	})
	srv.Set("GET /api/v1/destinations", func(a webtest.Asked) webtest.Answer {
		if a.Path != "/api/v1/destinations" {
			return crm("crm", say)
		}
		return api.DestinationList{Folder: "config", Destinations: orEmpty(crms)}
	})
	srv.Set("GET /api/v1/destinations/crm/catalogue", catalogue(max(rows, 137), say))
	srv.Set("GET /api/v1/pauses", api.PauseList{Pauses: []api.PauseView{}})
	srv.Set("GET /api/v1/limits", api.LimitList{Accounts: []limits.View{{
		Account: "activecampaign:acme", Share: 1, Rate: 5, Windows: []limits.WindowView{{Name: "5/s", Requests: 5, PerSeconds: 1, Used: 4, Left: 1, Reset: webtest.At}},
		Uses: []limits.UseView{{Use: "destination crm", Waiting: 12}, {Use: "connection paypal-eu"}},
	}}})
	manageMappings(srv, rows, say)
	manageWorkflows(srv, rows, say)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func catalogue(n int, say string) api.CatalogueList {
	entries := []destinations.Entry{
		{ID: "1", Names: []string{"ORDER_ID", "Order id"}, Type: sinks.FieldText},
		{ID: "2", Names: []string{"ORDER_DATE", "Order date"}, Type: sinks.FieldDate},
		{ID: "3", Names: []string{"CITY", "City " + say}, Type: sinks.FieldText},
	}
	for i := len(entries); i < n; i++ {
		entries = append(entries, destinations.Entry{ID: fmt.Sprint(i + 1), Names: []string{fmt.Sprintf("FIELD_%d", i), fmt.Sprintf("Field number %d", i)}, Type: sinks.FieldNumber})
	}
	kind := func(k sinks.EntryKind, names ...string) destinations.Snapshot {
		s := destinations.Snapshot{Destination: "crm", Kind: k, At: webtest.At}
		for i, name := range names {
			s.Entries = append(s.Entries, destinations.Entry{ID: fmt.Sprint(i), Names: []string{name}})
		}
		return s
	}
	return api.CatalogueList{Destination: "crm", Catalogue: []destinations.Snapshot{
		{Destination: "crm", Kind: sinks.EntryField, At: webtest.At, Entries: entries},
		kind(sinks.EntryTag, "vip", "paypal-integration"), kind(sinks.EntryList, "Customers", "Payment open"), kind(sinks.EntryMessage, "Payment problem", "Thank you"),
	}}
}

const mappingText = "# What goes to the CRM.\nresource: checkout-order-approved\ndestination: crm\nfields:\n  - {to: ORDER_ID, from: order.id}\n  - {to: ORDER_DATE, from: event.time, as: date}\n"

func mapping(name, say string) api.MappingView {
	return api.MappingView{
		Name: name, File: "mappings/" + name + ".yaml", ETag: `"m1"`, Connections: []string{}, Resource: "checkout-order-approved", Destination: "crm", Rules: 2, InForce: true, Text: mappingText,
		Mapping: &api.Mapping{Resource: "checkout-order-approved", Destination: "crm", Fields: []api.MappingRule{
			{To: "ORDER_ID", From: "order.id"}, {To: "ORDER_DATE", From: "event.time", As: "date"}, {To: "CITY", From: "payer.address.city", Default: text(say)},
		}},
		Problems: []api.ConfigProblem{},
	}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func versions(texts ...string) api.MappingVersions {
	var v api.MappingVersions
	for i, text := range texts {
		v.Items = append(v.Items, api.FileVersion{ConfigVersion: api.ConfigVersion{Version: fmt.Sprintf("%064d", len(texts)-i), By: "ann", At: webtest.At.Add(-time.Duration(i) * time.Hour), InForce: i == 0}, Action: "changed", Text: text})
	}
	return v
}

func manageMappings(srv *webtest.Server, rows int, say string) {
	list := api.MappingList{Items: []api.MappingView{}}
	for i := range rows {
		m := mapping(fmt.Sprintf("orders-%d", i+1), say)
		m.Text, m.Mapping = "", nil
		list.Items = append(list.Items, m)
	}
	srv.Set("GET /api/v1/mappings", func(a webtest.Asked) webtest.Answer {
		if a.Path != "/api/v1/mappings" {
			return mapping("orders-1", say)
		}
		return list
	})
	srv.Set("GET /api/v1/mappings/orders-1/versions", versions(mappingText, "# What goes to the CRM.\nresource: checkout-order-approved\ndestination: crm\nfields:\n  - {to: ORDER_ID, from: order.id}\n"))
	srv.Set("POST /api/v1/mappings/orders-1/preview", api.Preview{
		Mapping: "orders-1", Destination: "crm", Fits: true, Masked: true, Event: api.PreviewEvent{ID: "WH-00001", Type: "CHECKOUT.ORDER.APPROVED", Source: "paypal-eu", Status: "APPROVED"},
		Fields:     []api.PreviewField{{To: "ORDER_ID", From: "order.id", Value: "5O190127TN364715T" + say, Type: "text"}, {To: "CITY", From: "payer.address.city", Issue: "the event has no such value"}},
		Before:     &api.PreviewContact{Email: "a***@example.com", FirstName: "Ana", Fields: map[string]string{"ORDER_ID": "old"}, Tags: []string{"vip"}},
		After:      &api.PreviewContact{Email: "a***@example.com", FirstName: "Ana", Fields: map[string]string{"ORDER_ID": "5O190127TN364715T"}, Tags: []string{"paypal-integration", "vip"}},
		Requests:   []api.PreviewRequestBody{{Method: "POST", Path: "/api/3/contact/sync", Body: json.RawMessage(`{"contact":{"email":"a***@example.com","fieldValues":[{"field":"1","value":"5O190127TN364715T"}]}}`)}},
		NotChecked: []string{say},
	})
}

func manageWorkflows(srv *webtest.Server, rows int, say string) {
	source, err := os.ReadFile("../examples/config/workflows/payment-failed.yaml")
	if err != nil {
		panic(err)
	}
	one := api.WorkflowView{
		Name: "payment-failed", File: "workflows/payment-failed.yaml", ETag: `"w1"`, Description: "Tell the customer " + say, Destination: "crm", Mode: "live",
		Starts: []string{"payment-status-changed"}, Steps: 9, InForce: true, Text: string(source), Problems: []api.ConfigProblem{},
	}
	list := api.WorkflowList{Items: []api.WorkflowView{}}
	for i := range rows {
		w := one
		w.Text = ""
		if i > 0 {
			w.Name = fmt.Sprintf("payment-failed-%d", i+1)
		}
		list.Items = append(list.Items, w)
	}
	srv.Set("GET /api/v1/workflows", func(a webtest.Asked) webtest.Answer {
		if a.Path != "/api/v1/workflows" {
			return one
		}
		return list
	})
	srv.Set("GET /api/v1/workflows/payment-failed/versions", versions(string(source), "destination: crm\n"))
	srv.Set("PUT /api/v1/workflows/payment-failed", api.ConfigEdited{Path: one.File, ETag: `"w2"`, Text: string(source), Problems: []api.ConfigProblem{}})
	srv.Set("GET /api/v1/runs", api.RunList{Workflows: []chsink.WorkflowRuns{{
		Workflow: "payment-failed", Runs: 1204, Open: 31, Ended: 1100, Stopped: 73, Contacts: 980, LastAt: webtest.At,
		Branches: []chsink.BranchCount{{Step: "paid-within-a-day", Branch: "met", Times: 811}, {Step: "paid-within-a-day", Branch: "not_met", Times: 362}},
	}}})
	wait := chsink.Wait{ID: "w-1", RunID: "r-1", Workflow: "payment-failed", Step: "paid-within-a-day", ContactKey: "live/a***@example.com", RootKey: "live/paypal-eu/O-1", State: "open", OpenedAt: webtest.At, OpenedDetail: say, Deadline: deadline}
	page := chsink.WaitPage{Waits: []chsink.Wait{}}
	for i := range rows {
		w := wait
		w.ID = fmt.Sprintf("w-%d", i+1)
		page.Waits = append(page.Waits, w)
	}
	srv.Set("GET /api/v1/waits", func(a webtest.Asked) webtest.Answer {
		if a.Path != "/api/v1/waits" {
			return api.WaitView{Wait: wait, Ending: &api.Ending{Met: "the order is paid", NotMet: "in 1 day", ThenMet: "remove tags payment-problem", ThenNot: "wait for business hours " + say, Program: true}}
		}
		return page
	})
	srv.Set("POST /api/v1/waits", api.Decided{WaitID: "w-1", Met: true, Then: "remove tags payment-problem"})
	srv.Set("POST /api/v1/workflows/payment-failed/test", api.WorkflowTested{
		Workflow: "payment-failed", Began: webtest.At, Ended: webtest.At.Add(24 * time.Hour), Started: true, Nodes: []string{"start.0", "step:0", "step:1", "step:paid-within-a-day"},
		Steps:   []api.TestedStep{{At: webtest.At, Kind: "RUN_STARTED", Node: "start.0", Detail: say}, {At: webtest.At.Add(24 * time.Hour), Kind: "WAIT_NOT_MET", Step: "paid-within-a-day", Branch: "not_met", Node: "step:paid-within-a-day"}},
		Effects: []api.TestedEffect{{At: webtest.At, Destination: "crm", Type: "message", Name: "Payment problem " + say}},
	})
	group := api.BacktestGroup{Rule: "workflows/payment-failed", Effect: "message Payment problem", Destination: "crm", Current: 10, New: 14, Added: 4, Contacts: 4, Money: map[string]string{"EUR": "120.50"}}
	group.Samples = []api.BacktestSample{{Kind: "added", Order: "O-1", Event: "WH-00001", Contact: "a***", At: webtest.At, Becomes: "message Payment problem " + say}}
	srv.Set("POST /api/v1/backtests", api.Backtest{ID: "b-1", State: api.BacktestQueued})
	srv.Set("GET /api/v1/backtests", api.Backtest{ID: "b-1", State: api.BacktestDone, Progress: 1, Events: 5000, Report: &api.BacktestReport{
		Events: 5000, Contacts: 4, Money: map[string]string{"EUR": "120.50"}, Groups: []api.BacktestGroup{group},
		Workflows: []api.BacktestWorkflow{{Name: "payment-failed", Current: api.BacktestRuns{Started: 10, Met: 6}, New: api.BacktestRuns{Started: 14, Met: 8}}},
	}})
}

// managed are the screens of management, with what is seen when there is something to see.
var managed = []struct{ name, path, full, empty string }{
	{"connections", "/connections", "[data-testid=sources] tbody a", "[data-testid=empty]"},
	{"connection", "/connections/paypal-eu", "[data-testid=resources] .resource", ""},
	{"crm", "/connections/crm?kind=crm", "[data-testid=budget] meter", ""},
	{"wizard", "/connections/new?type=paypal", "[data-testid=name]", ""},
	{"wizard-crm", "/connections/new?kind=crm", "[data-testid=type]", ""},
	{"mappings", "/mappings", "main tbody a", "[data-testid=empty]"},
	{"mapping", "/mappings/orders-1", "[data-rule='1']", ""},
	{"mapping-more", "/mappings/orders-1?tab=more", "main .combo", ""},
	{"mapping-preview", "/mappings/orders-1?tab=preview", "[data-testid=preview-run]", ""},
	{"mapping-versions", "/mappings/orders-1?tab=versions", "[data-testid=diff-0]", ""},
	{"workflows", "/workflows", "main tbody a", "[data-testid=empty]"},
	{"workflow", "/workflows/payment-failed", "[data-testid=graph] g.box", ""},
	{"workflow-waits", "/workflows/payment-failed?tab=waits", "[data-testid=waits] tbody button", "[data-testid=empty]"},
	{"workflow-test", "/workflows/payment-failed?tab=test", "[data-testid=run-test]", ""},
	{"workflow-backtest", "/workflows/payment-failed?tab=backtest&backtest=b-1", "[data-testid=report]", ""},
	{"workflow-versions", "/workflows/payment-failed?tab=versions", "[data-testid=diff-0]", ""},
}

func TestManagementLoads(t *testing.T) {
	for i, s := range managed {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			manage(srv, 3, "")
			v := view{Theme: []string{"light", "dark"}[i%2]}
			b := open(t, srv, s.path, v)
			b.Sees(s.full)
			b.Settled()
			accessible(t, b)
			b.Shot(s.name + "-" + v.Theme)
			b.Quiet()
		})
	}
}

func TestManagementOnAPhoneInOtherLanguages(t *testing.T) {
	for i, s := range managed {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			manage(srv, 3, "")
			v := view{Theme: []string{"dark", "light"}[i%2], Phone: true, Language: []string{"it", "fr"}[i%2]}
			b := open(t, srv, s.path, v)
			b.Sees(s.full)
			b.Settled()
			accessible(t, b)
			b.Shot(s.name + "-phone-" + v.Theme + "-" + v.Language)
			if got := browsertest.Eval[string](b, `String(document.documentElement.scrollWidth > innerWidth)`); got != "false" {
				t.Error("the page is wider than the phone")
			}
			if got := browsertest.Eval[string](b, `String((document.body.innerText.match(/\b(connections|mappings|workflows)\.[a-z_]+\S*/g) ?? []).filter(x => !x.includes(".yaml")))`); got != "" {
				t.Errorf("texts without a translation: %s", got)
			}
			b.Quiet()
		})
	}
}

func TestManagementEmptySaysTheNextStep(t *testing.T) {
	for _, s := range managed {
		if s.empty == "" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			manage(srv, 0, "")
			b := open(t, srv, s.path, view{})
			b.Sees(s.empty)
			accessible(t, b)
			b.Quiet()
		})
	}
}

func TestManagementErrorsSayCauseRemedyAndRequest(t *testing.T) {
	for _, s := range managed {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			manage(srv, 3, "")
			srv.Fail(http.StatusBadGateway, "kafka is not reached")
			b := open(t, srv, s.path, view{})
			b.Sees("[data-testid=error]")
			b.Says("kafka is not reached")
			b.Says("REQ-1234")
			accessible(t, b)
		})
	}
}

func TestManagementTakesHostileTextAsText(t *testing.T) {
	for _, s := range managed {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			manage(srv, 3, webtest.Hostile)
			b := open(t, srv, s.path, view{})
			b.Sees(s.full)
			b.Settled()
			if got := browsertest.Eval[string](b, `String(window.hacked) + document.querySelectorAll("main img, main script").length`); got != "undefined0" {
				t.Errorf("hostile text was taken as markup: %s", got)
			}
			b.Quiet()
		})
	}
}

func TestManagementWithTenThousandRows(t *testing.T) {
	for _, path := range []string{"/connections", "/mappings", "/workflows", "/workflows/payment-failed?tab=waits"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			manage(srv, 10_000, "")
			b := open(t, srv, path, view{})
			b.Sees("main tbody [data-row]")
			b.Until(`document.querySelectorAll("main tbody tr").length < 200`)
			b.Until(`Number(document.querySelector("main table[aria-rowcount]").getAttribute("aria-rowcount")) === 10001`)
			accessible(t, b)
			b.Quiet()
		})
	}
}
