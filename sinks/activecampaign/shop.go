package activecampaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// Orders and recurring payments go through the account's GraphQL endpoint. It keeps them by the shop's own id, so a write
// may be repeated; it knows refunds and cancellations, which the older REST endpoint for orders does not; and what it
// takes reaches automations, segments and the REST copy alike.

// connectionService names the connections that we make, one for each shop.
const connectionService = "tillstream"

const (
	shopPath          = "/ecom/graphql"
	orderMutation     = "bulkUpsertOrdersAsync"
	recurringMutation = "bulkUpsertRecurringPayments"
)

// orderStatuses are the account's words for ours. What has no word is left out, and stands in storeStatus only.
var orderStatuses = map[schemas.PaymentStatus]string{
	schemas.StatusDraft: "PENDING", schemas.StatusPending: "PENDING_PAYMENT", schemas.StatusApproved: "PENDING_PAYMENT",
	schemas.StatusAuthorized: "WAITING", schemas.StatusPartiallyPaid: "WAITING", schemas.StatusPaid: "COMPLETED",
	schemas.StatusPartiallyRefunded: "COMPLETED", schemas.StatusDisputed: "COMPLETED", schemas.StatusFailed: "FAILED",
	schemas.StatusExpired: "CANCELLED", schemas.StatusCancelled: "CANCELLED", schemas.StatusVoided: "CANCELLED",
	schemas.StatusRefunded: "REFUNDED", schemas.StatusChargedBack: "REFUNDED",
}

var recurringStatuses = map[schemas.PaymentStatus]string{
	schemas.StatusPending: "PENDING", schemas.StatusApproved: "PENDING", schemas.StatusActive: "ACTIVE", schemas.StatusPaid: "ACTIVE",
	schemas.StatusSuspended: "PAUSED", schemas.StatusFailed: "PAYMENT_FAILED", schemas.StatusCancelled: "CANCELLED", schemas.StatusExpired: "EXPIRED",
}

// row is one record of a mutation, its values written as GraphQL literals. The arguments are inlined, as the provider's
// own plugin does it: the names of their types are not documented.
type row []string

func (r *row) literal(name, value string) { *r = append(*r, name+": "+value) }

// text adds a string, unless it is empty. GraphQL's escapes are those of JSON.
func (r *row) text(name, value string) {
	if value != "" {
		b, _ := json.Marshal(value) // a string always encodes
		r.literal(name, string(b))
	}
}

func (r *row) mutation(field, argument string) string {
	return "mutation { " + field + "(" + argument + ": [{" + strings.Join(*r, ", ") + "}]) { recordId } }"
}

// silent reports whether automations are to be left alone: for what is old, and what is a test.
func silent(cmd *schemas.Command) bool {
	return cmd.Test || cmd.Origin == schemas.OriginBackfill || cmd.Origin == schemas.OriginReplay
}

// writeOrder is EffectWriteOrder.
func (w *writer) writeOrder(ctx context.Context, cmd *schemas.Command) *failure {
	a := cmd.Effect.Arguments
	amount, currency, fail := amountOf(a, "order")
	if fail != nil {
		return fail
	}
	connection, fail := w.connections.id(ctx, w.shopOf(a))
	if fail != nil {
		return fail
	}
	at := timeOf(cmd)
	created, fail := w.createdAt(ctx, connection, cmd.Effect.Name, at)
	if fail != nil {
		return fail
	}
	var r row
	r.literal("legacyConnectionId", connection)
	r.text("storeOrderId", cmd.Effect.Name)
	r.text("email", strings.TrimSpace(cmd.Contact.Email))
	r.text("orderNumber", first(a["number"], cmd.Effect.Name))
	if status := orderStatuses[schemas.PaymentStatus(a["status"])]; status != "" {
		r.literal("normalizedStatus", status)
	}
	r.text("storeStatus", first(a["provider_status"], a["status"]))
	r.literal("creationSource", map[bool]string{true: "HISTORICAL", false: "REAL_TIME"}[silent(cmd)])
	r.literal("finalAmount", amount)
	r.text("currency", currency)
	r.text("storeCreatedDate", created)
	r.text("storeModifiedDate", at)
	r.text("notes", notes(a))
	if names := customer(&cmd.Contact); names != "" {
		r.literal("customerData", names)
	}
	if fail := w.mutate(ctx, orderMutation, "orders", r); fail != nil {
		return fail
	}
	w.created.note(connection+"/"+cmd.Effect.Name, created)
	return nil
}

// writeRecurring is EffectWriteRecurring. A subscription whose amount is not known is written with 0.
func (w *writer) writeRecurring(ctx context.Context, cmd *schemas.Command) *failure {
	a := cmd.Effect.Arguments
	amount, currency := "0", ""
	var fail *failure
	if a["amount"] != "" {
		if amount, currency, fail = amountOf(a, "subscription"); fail != nil {
			return fail
		}
	}
	connection, fail := w.connections.id(ctx, w.shopOf(a))
	if fail != nil {
		return fail
	}
	status := recurringStatuses[schemas.PaymentStatus(a["status"])]
	if strings.HasSuffix(a["event_type"], "PAYMENT.FAILED") && status == "ACTIVE" {
		status = "PAYMENT_FAILED"
	}
	var r row
	r.literal("legacyConnectionId", connection)
	r.text("storeRecurringPaymentId", cmd.Effect.Name)
	r.text("email", strings.TrimSpace(cmd.Contact.Email))
	r.text("name", first(a["number"], cmd.Effect.Name))
	if status != "" {
		r.literal("normalizedStatus", status)
	}
	r.text("storeStatus", first(a["provider_status"], a["status"]))
	r.literal("paymentAmount", amount)
	r.text("currency", currency)
	r.text("storeModifiedDate", timeOf(cmd))
	r.literal("suppressAutomations", strconv.FormatBool(silent(cmd)))
	if names := customer(&cmd.Contact); names != "" {
		r.literal("customerData", names)
	}
	return w.mutate(ctx, recurringMutation, "recurringPayments", r)
}

// mutate sends one record.
func (w *writer) mutate(ctx context.Context, field, argument string, r row) *failure {
	return judgeShop(w.api.call(ctx, http.MethodPost, shopPath, nil, map[string]string{"query": r.mutation(field, argument)}), field)
}

// judgeShop reads an answer of the shop endpoint, which refuses inside a 200.
func judgeShop(r reply, field string) *failure {
	var answer struct {
		Data   map[string]json.RawMessage
		Errors []struct {
			Message    string
			Extensions map[string]any
		}
	}
	if !r.ok(&answer) {
		return classify(r)
	}
	if data := string(answer.Data[field]); len(answer.Errors) == 0 && data != "" && data != "null" {
		return nil
	}
	f := &failure{kind: failRetry, status: r.status(), cause: "activecampaign answered the shop's data with neither a record nor an error", remedy: "nothing: it is tried again"}
	if len(answer.Errors) == 0 {
		return f
	}
	said := []string{answer.Errors[0].Message}
	for _, name := range slices.Sorted(maps.Keys(answer.Errors[0].Extensions)) {
		if text, ok := answer.Errors[0].Extensions[name].(string); ok {
			said = append(said, name+": "+text)
		}
	}
	f.said = shorten(outbound.Redact(strings.Join(said, "; ")))
	f.cause = "activecampaign refused the shop's data: " + f.said
	lower := strings.ToLower(f.said)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
	}
	switch {
	case has("validation error"):
		f.kind, f.remedy = failReject, "correct what is named in the order or the mapping, and replay"
	case has("permission", "not authorized", "unauthorized", "forbidden", "plan", "not enabled"):
		f.kind, f.remedy = failReject, "check that the account's plan has e-commerce and that the key's user may use it, and replay"
	case has("syntax error", "cannot query", "unknown argument", "unknown type", "is not defined"):
		f.kind, f.remedy = failReject, "report this as a bug: activecampaign does not know the form of the request any more"
	}
	return f
}

// createdAt is when the order was made, which each write has to repeat: what was written before, or what the account has,
// whose copy follows a write late, or at.
func (w *writer) createdAt(ctx context.Context, connection, order, at string) (string, *failure) {
	if created := w.created.get(connection + "/" + order); created != "" {
		return created, nil
	}
	var found struct {
		EcomOrders []struct {
			ExternalID string `json:"externalid"`
			Created    string `json:"externalCreatedDate"`
		} `json:"ecomOrders"`
	}
	r := w.api.call(ctx, http.MethodGet, "/ecomOrders", url.Values{"filters[connectionid]": {connection}, "filters[externalid]": {order}}, nil)
	if !r.ok(&found) {
		return "", classify(r)
	}
	for _, o := range found.EcomOrders {
		if _, err := time.Parse(time.RFC3339, o.Created); err == nil && o.ExternalID == order {
			return o.Created, nil
		}
	}
	return at, nil
}

// datesKnownMax bounds the orders whose dates are remembered.
const datesKnownMax = 10_000

// dates are when orders were made, by connection and id at the shop.
type dates struct {
	mu    sync.Mutex
	known map[string]string
}

func (d *dates) get(order string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[order]
}

func (d *dates) note(order, created string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= datesKnownMax {
		d.known = map[string]string{}
	}
	d.known[order] = created
}

func (w *writer) shopOf(arguments map[string]string) string {
	return first(arguments["shop"], w.destination)
}

// amountOf checks the amount and writes both the way the endpoint takes them: decimal units, and a currency in small letters.
func amountOf(a map[string]string, what string) (amount, currency string, fail *failure) {
	v, err := money.Parse(a["amount"], a["currency"])
	if err == nil && v.Negative() {
		err = errors.New("it is negative")
	}
	if err != nil {
		return "", "", &failure{
			kind: failReject, cause: fmt.Sprintf("the %s has no amount that activecampaign takes: %v", what, err),
			remedy: "write it once its amount and currency are known, and replay",
		}
	}
	return v.Text(), strings.ToLower(string(v.Currency)), nil
}

// timeOf is when what the effect tells of happened.
func timeOf(cmd *schemas.Command) string {
	if t, err := time.Parse(time.RFC3339Nano, cmd.Effect.Arguments["time"]); err == nil {
		return t.UTC().Format(time.RFC3339)
	}
	return cmd.At.UTC().Format(time.RFC3339)
}

// notes say what the endpoint has no field for.
func notes(a map[string]string) string {
	var out []string
	for _, name := range []string{"paid", "refunded"} {
		if v, err := money.Parse(a[name], a["currency"]); err == nil && !v.IsZero() {
			out = append(out, name+" "+v.String())
		}
	}
	return strings.Join(out, ", ")
}

func customer(c *schemas.Contact) string {
	var r row
	r.text("firstName", c.FirstName)
	r.text("lastName", c.LastName)
	r.text("phone", c.Phone)
	if len(r) == 0 {
		return ""
	}
	return "{" + strings.Join(r, ", ") + "}"
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// connections are the shops' connections in the account, made on first use.
type connections struct {
	api       *client
	url, logo string

	turn  turn // to ask and to make, so that none is made twice
	known map[string]string
}

// shopsKnownMax bounds the connections that are remembered.
const shopsKnownMax = 1000

func (c *connections) id(ctx context.Context, shop string) (string, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return "", fail
	}
	defer c.turn.give()
	if id := c.known[shop]; id != "" {
		return id, nil
	}
	id, fail := c.find(ctx, shop)
	if fail != nil {
		return "", fail
	}
	if id == "" {
		if id, fail = c.create(ctx, shop); fail != nil {
			return "", fail
		}
	}
	if _, err := strconv.ParseUint(id, 10, 64); err != nil {
		return "", &failure{kind: failRetry, cause: "activecampaign gave a connection an id that is no number", remedy: "nothing: it is tried again"}
	}
	if c.known == nil || len(c.known) >= shopsKnownMax {
		c.known = map[string]string{}
	}
	c.known[shop] = id
	return id, nil
}

func (c *connections) find(ctx context.Context, shop string) (string, *failure) {
	var found struct {
		Connections []struct {
			ID         flexible `json:"id"`
			Service    string   `json:"service"`
			ExternalID string   `json:"externalid"`
		} `json:"connections"`
	}
	r := c.api.call(ctx, http.MethodGet, "/connections", url.Values{"filters[service]": {connectionService}, "filters[externalid]": {shop}}, nil)
	if !r.ok(&found) {
		return "", classify(r)
	}
	for _, n := range found.Connections {
		if n.Service == connectionService && n.ExternalID == shop {
			return string(n.ID), nil
		}
	}
	return "", nil
}

func (c *connections) create(ctx context.Context, shop string) (string, *failure) {
	var made struct {
		Connection struct {
			ID flexible `json:"id"`
		} `json:"connection"`
	}
	r := c.api.call(ctx, http.MethodPost, "/connections", nil, map[string]any{"connection": map[string]string{
		"service": connectionService, "externalid": shop, "name": shop, "logoUrl": c.logo, "linkUrl": c.url,
	}})
	if r.ok(&made) && made.Connection.ID != "" {
		return string(made.Connection.ID), nil
	}
	fail := classify(r)
	if fail.status != http.StatusUnprocessableEntity && fail.kind != failUnknown {
		return "", fail
	}
	// Made by another process in the meantime, or by this request all the same.
	if id, again := c.find(ctx, shop); id != "" || again != nil {
		return id, again
	}
	return "", fail
}
