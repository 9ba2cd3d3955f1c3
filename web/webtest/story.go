package webtest

import (
	"fmt"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/access"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// At is the time of everything in the story.
var At = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// Hostile is text that must stay text wherever it comes: it is put into every field that a payload fills.
const Hostile = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"'>{{7*7}}javascript:window.hacked=1`

// TellStory puts a day of a shop behind every route, with say where a payload fills a field and events rows in the long lists.
func (s *Server) TellStory(events int, say string) {
	s.Set("GET /api/v1/overview", overview())
	s.Set("GET /api/v1/events", func(a Asked) Answer {
		if a.Path != "/api/v1/events" {
			return event(say)
		}
		return page(events, say)
	})
	s.Set("GET /api/v1/timeline", timeline(say))
	s.Set("GET /api/v1/issues", map[string]any{"issues": issues(min(events, 1000), say)})
	s.Set("GET /api/v1/dead-letters", map[string]any{"dead_letters": letters(min(events, 1000), say)})
	s.Set("GET /api/v1/jobs", func(a Asked) Answer {
		if a.Path != "/api/v1/jobs" {
			return map[string]any{"job": "j1", "kind": "RETRY", "state": "DONE", "count": 3, "done": 2, "skipped": 0, "failed": 1, "by": "ann", "asked_at": At, "at": At, "items": []chsink.Item{
				{Number: 1, Item: say, Result: "SENT", At: At}, {Number: 2, Item: "b", Result: "FAILED", Detail: say, At: At},
			}}
		}
		return map[string]any{"jobs": []chsink.Job{{ID: "j1", Kind: "RETRY", State: "DONE", Count: 3, Done: 3, By: "ann", Why: say, AskedAt: At, At: At}}}
	})
	s.Set("POST /api/v1/jobs", map[string]any{"job_id": "j1", "kind": "RETRY", "count": 3, "by_cause": map[string]int{"REJECTED": 3}})
	s.Set("GET /api/v1/reports", func(a Asked) Answer {
		if a.Path != "/api/v1/reports" {
			return report(events, say)
		}
		return api.ReportList{Items: []api.ReportInfo{report(0, say).ReportInfo, {Name: "funnel", Title: "Created, approved, captured", Definition: say}}}
	})
	s.Set("GET /api/v1/users", api.UserList{Items: []access.User{{Name: "ann", Role: "admin", MadeBy: "root", MadeAt: At, HasPassword: true, Sessions: 1}, {Name: "bob " + say, Role: "viewer", MadeBy: "ann", MadeAt: At}}})
	s.Set("GET /api/v1/tokens", api.TokenList{Items: []access.Token{{ID: "t1", Name: "export " + say, Role: "viewer", MadeBy: "ann", MadeAt: At, ExpiresAt: At.AddDate(0, 3, 0), UsedAt: At}}})
	s.Set("GET /api/v1/audit", api.AuditList{Items: []api.AuditView{{ID: "REQ-1", At: At, Who: "ann", Via: "session", Role: "admin", Address: "127.0.0.1", Action: "POST /api/v1/users", Subject: "bob " + say, Outcome: "done"}}})
	s.Set("GET /api/v1/erasures", api.ErasureList{Items: []api.Erasure{{ID: "e1", State: api.ErasureDone, By: "ann", At: At, DoneAt: At, Orders: 2, Contacts: 1, Tables: map[string]uint64{"events": 4}, Remaining: []string{say}}}})
	s.Set("GET /api/v1/config", api.ConfigFolder{Folder: "config", Writable: true, Version: "v3", Files: []api.ConfigFile{{Path: "tillstream.yaml", Kind: "settings", Name: "tillstream", Bytes: 812, Modified: At}}})
}

// Empty has every route of the story answer nothing.
func (s *Server) Empty() {
	o := overview()
	o.Money, o.Attention = []api.OverviewMoney{}, []api.Attention{}
	for i := range o.Steps {
		o.Steps[i].Count = 0
	}
	s.Set("GET /api/v1/overview", o)
	s.Set("GET /api/v1/events", api.EventPage{})
	s.Set("GET /api/v1/timeline", api.Timeline{})
	s.Set("GET /api/v1/issues", map[string]any{"issues": []any{}})
	s.Set("GET /api/v1/dead-letters", map[string]any{"dead_letters": []any{}})
	s.Set("GET /api/v1/jobs", map[string]any{"jobs": []any{}})
	s.Set("GET /api/v1/reports", func(a Asked) Answer {
		if a.Path != "/api/v1/reports" {
			return report(0, "")
		}
		return api.ReportList{}
	})
	s.Set("GET /api/v1/users", api.UserList{})
	s.Set("GET /api/v1/tokens", api.TokenList{})
	s.Set("GET /api/v1/audit", api.AuditList{})
	s.Set("GET /api/v1/erasures", api.ErasureList{})
	s.Set("GET /api/v1/config", api.ConfigFolder{})
}

func overview() api.Overview {
	lag, none, behind := 0.2, int64(0), int64(41)
	slow := 95.0
	return api.Overview{
		At: At, Day: At.Truncate(24 * time.Hour), Environment: "live", CompleteUpTo: At.Add(-2 * time.Second),
		Steps: []api.OverviewStep{
			{Step: api.StepReceived, Count: 12847, LagSeconds: &lag, Waiting: &none, LastAt: At, Link: "/events"},
			{Step: api.StepVerified, Count: 12840, LagSeconds: &lag, Waiting: &none, LastAt: At, Link: "/events"},
			{Step: api.StepRecorded, Count: 12840, LagSeconds: &lag, Waiting: &none, LastAt: At, Link: "/events"},
			{Step: api.StepTransitions, Count: 9312, LagSeconds: &lag, Waiting: &none, LastAt: At, Link: "/events"},
			{Step: api.StepEffects, Count: 7044, LagSeconds: &slow, Waiting: &behind, LastAt: At, Link: "/workflows"},
			{Step: api.StepDelivered, Count: 7003, LastAt: At, Link: "/reports/delivery"},
			{Step: api.StepDead, Count: 3, LastAt: At, Link: "/issues"},
		},
		Money: []api.OverviewMoney{
			{Currency: "EUR", Gross: "18240.50", Refunds: "320.00", Net: "17920.50", Payments: 412, Link: "/events?currency=EUR"},
			{Currency: "USD", Gross: "2210.00", Refunds: "0.00", Net: "2210.00", Payments: 38, Link: "/events?currency=USD"},
		},
		Attention: []api.Attention{
			{Kind: "issue", Severity: "error", What: "3 contacts refused by active-campaign", Detail: "The list 12 does not exist.", Remedy: "choose another list in the mapping", Count: 3, Since: At, Link: "/issues/i1"},
			{Kind: "lag", Severity: "warning", What: "Requests to active-campaign are 95 s behind", Link: "/connections"},
			{Kind: "paused", Severity: "info", What: "shop-uk is paused by ann", Link: "/connections/shop-uk"},
		},
	}
}

var kinds = []struct{ kind, what, status string }{
	{"PAYMENT", "PAYMENT.CAPTURE.COMPLETED", "PAID"},
	{"ORDER", "CHECKOUT.ORDER.APPROVED", "APPROVED"},
	{"REFUND", "PAYMENT.CAPTURE.REFUNDED", "REFUNDED"},
	{"SUBSCRIPTION", "BILLING.SUBSCRIPTION.ACTIVATED", "ACTIVE"},
	{"PAYMENT", "PAYMENT.CAPTURE.DENIED", "FAILED"},
}

func summary(i int, say string) api.EventSummary {
	k := kinds[i%len(kinds)]
	e := api.EventSummary{
		ID: fmt.Sprintf("WH-%05d", i), Record: fmt.Sprintf("paypal.events-0-%d", i), Environment: "live", Store: "shop", Provider: "paypal", Kind: k.kind, Type: k.what, Status: k.status,
		Order: fmt.Sprintf("O-%d", i/3), OrderKey: fmt.Sprintf("live/shop/O-%d", i/3), Contact: "live/a***@example.com", Amount: &api.MoneyText{Amount: "49.90", Currency: "EUR"}, Origin: "WEBHOOK",
		At: At.Add(-time.Duration(i) * time.Minute), ReceivedAt: At.Add(-time.Duration(i) * time.Minute),
	}
	if say != "" {
		e.Name, e.Type, e.Store, e.Order, e.ProviderStatus, e.Contact = say, say, say, say, say, say
	}
	if i == 3 {
		e.Problem, e.Status = "the body has no resource", ""
	}
	if i == 4 {
		e.Test, e.Origin, e.Environment = true, "REPLAY", "sandbox"
	}
	return e
}

func page(n int, say string) api.EventPage {
	p := api.EventPage{Items: []api.EventSummary{}}
	for i := range n {
		p.Items = append(p.Items, summary(i, say))
	}
	return p
}

func event(say string) api.EventView {
	e := api.EventView{
		EventSummary: summary(1, say), PersonalData: true, Email: "ann@example.com", GivenName: "Ann", Surname: say, Phone: "+39 02 1234567", Address: []string{"Via Roma 1", say}, Country: "IT",
		CustomID: say, InvoiceID: "INV-7", Links: []api.NamedText{{Name: "capture", Value: say}}, Fields: map[string]string{"note": say}, Headers: map[string]string{"User-Agent": say},
		Body:      `{"id":"WH-00001","amount":{"value":"10.10","exact":10.100000000000000000001},"name":"` + jsonText(say) + `","list":[],"none":{}}`,
		BodyBytes: 120, BodyHash: "9f86d081884c7d65", Place: api.RecordPlace{Topic: "paypal.events", Partition: 3, Offset: 1042},
	}
	e.Records = []api.EventSummary{e.EventSummary, summary(4, say)}
	return e
}

func timeline(say string) api.Timeline {
	hop := func(after int64, stage, what, outcome string, good bool) api.Hop {
		return api.Hop{
			At: At.Add(time.Duration(after) * time.Millisecond), Stage: stage, What: what, Outcome: outcome, Good: good, AfterMillis: after, Place: api.RecordPlace{Topic: "paypal.events", Partition: 1, Offset: 7},
			Input: []api.NamedText{{Name: "status", Value: "APPROVED"}}, Output: []api.NamedText{{Name: "said", Value: say}},
		}
	}
	t := api.Timeline{ID: "live/shop/O-1", As: "order", Orders: []string{"live/shop/O-1", "live/shop/O-2"}, Contacts: []string{"live/a***@example.com"}, Hops: []api.Hop{
		hop(0, api.StageReceipt, "CHECKOUT.ORDER.APPROVED came by webhook, its signature is good", "ACCEPTED", true),
		hop(12, api.StageOrders, "the order became approved "+say, "APPLIED", true),
		hop(86_400_000, api.StageWorkflow, "the wait of a day ended: not met", "TIMED_OUT", true),
		hop(40, api.StageCommand, "active-campaign: set the tags", "CONTACT", true),
		hop(230, api.StageCRM, "the CRM refused it: "+say, "REJECTED", false),
		hop(3, api.StageDeadLetter, "given up", "REJECTED", false),
	}}
	t.Hops[4].Attempt, t.Hops[4].Remedy, t.Hops[4].Destination = 3, "choose another list", "active-campaign"
	t.Hops[4].Exchanges = []api.HopExchange{{Method: "POST", URL: "https://example.api-us1.com/api/3/contact/sync", RequestBody: `{"contact":"` + jsonText(say) + `"}`, Status: 422, ResponseBody: say, Millis: 212}}
	return t
}

func issues(n int, say string) []chsink.Issue {
	list := []chsink.Issue{}
	for i := range min(n, 40) {
		list = append(list, chsink.Issue{
			Key: fmt.Sprintf("i%d", i), State: []string{"OPEN", "REOPENED", "RETRIED", "DISMISSED"}[i%4], Stage: "deliver", Cause: []string{"REJECTED", "QUARANTINED"}[i%2], Place: "active-campaign",
			Pattern: "the list # does not exist " + say, Letters: 12, Open: uint64(3 - i%4), FirstSeen: At.Add(-time.Hour), LastSeen: At, Reason: "the list 12 does not exist " + say, Remedy: "choose another list in the mapping", Sample: "l1",
		})
	}
	return list
}

func letters(n int, say string) []chsink.Letter {
	list := []chsink.Letter{}
	for i := range n {
		list = append(list, chsink.Letter{
			Item: fmt.Sprintf("deadletter-0-%d", i), Issue: "i0", State: []string{"OPEN", "RETRIED"}[i%2], Stage: "deliver", Cause: "REJECTED", Reason: "the list 12 does not exist " + say,
			Topic: "crm.commands", EventID: fmt.Sprintf("WH-%05d", i), RootKey: "live/shop/O-1", Destination: "active-campaign", At: At, JobID: []string{"", "j1"}[i%2],
		})
	}
	return list
}

func report(n int, say string) api.ReportAnswer {
	r := api.ReportAnswer{
		ReportInfo: api.ReportInfo{
			Name: "revenue-days", Title: "Revenue by day", Definition: "Gross, refunds and net of each day, by the provider's time. " + say, View: "v_revenue_days", Money: true,
			Chart: api.ReportChart{Plot: "line", X: "day", Y: "net", Series: []string{"currency"}},
		},
		Columns: []api.ReportColumn{{Name: "day", Type: "day"}, {Name: "store", Type: "text"}, {Name: "currency", Type: "text"}, {Name: "payments", Type: "number", Unit: "count"}, {Name: "net", Type: "money", Unit: "currency"}, {Name: "refund_share", Type: "number", Unit: "share"}},
		Rows:    [][]any{}, Opens: []string{}, AsOf: At, SQL: "SELECT * FROM v_revenue_days(environment = 'live')",
	}
	for i := range n {
		store := "shop"
		if say != "" {
			store = say
		}
		currency := []string{"EUR", "USD"}[i%2]
		r.Rows = append(r.Rows, []any{At.AddDate(0, 0, -i/2).Format(time.DateOnly), store, currency, 10 + i%17, fmt.Sprintf("%d.50", 800+(i*37)%400), 0.021})
		r.Opens = append(r.Opens, fmt.Sprintf("/events?currency=%s&since=%s", currency, At.AddDate(0, 0, -i/2).Format(time.RFC3339)))
	}
	return r
}
