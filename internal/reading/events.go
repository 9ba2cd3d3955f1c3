package reading

import (
	"context"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Events implements api.Reading.
func (d *Desk) Events(ctx context.Context, q api.EventsQuery) (api.EventPage, error) {
	if e := q.Environment; e != "" && e != schemas.Live && e != schemas.Sandbox {
		return api.EventPage{}, refuse(connections.Invalid, "environment %q: use live or sandbox", e)
	}
	found, err := d.Store.SearchEvents(ctx, chsink.EventFilter{
		Text: q.Text, Store: q.Store, Order: q.Order, Contact: q.Email, Status: q.Status, Kind: q.Kind, Type: q.Type, Currency: q.Currency,
		Environment: q.Environment, Problem: q.Problem, Since: q.Since, Until: q.Until, ProviderTime: q.ProviderTime, After: q.After, Limit: q.Limit,
	})
	if err != nil {
		return api.EventPage{}, refused(err)
	}
	return api.EventPage{Items: summaries(found.Rows, q.PersonalData), Next: found.Next, SearchedTo: found.SearchedTo}, nil
}

func summaries(rows []chsink.EventRow, personalData bool) []api.EventSummary {
	list := make([]api.EventSummary, len(rows))
	for i, r := range rows {
		list[i] = summary(r, personalData)
	}
	return list
}

func summary(r chsink.EventRow, personalData bool) api.EventSummary {
	s := api.EventSummary{
		ID: r.EventID, Record: r.Record(), Environment: r.Environment, Store: r.Connection, Provider: r.Provider, Kind: r.Kind, Type: r.EventType,
		ProviderStatus: r.ProviderStatus, Status: r.Status, Order: r.RootID, Entity: r.EntityID, Contact: masked(personalData, r.ContactKey), Name: masked(personalData, r.Name),
		Amount: money(r.Amount, r.Currency), Origin: r.Origin, At: r.At, ReceivedAt: r.ReceivedAt, ProviderTime: r.ProviderTime, Test: r.Test,
		Problem: redacted(personalData, r.Problem),
	}
	if r.RootID != "" {
		s.OrderKey = schemas.RootKey(schemas.Environment(r.Environment), r.Connection, r.RootID)
	}
	return s
}

func money(d *decimal.Decimal, currency string) *api.MoneyText {
	if d == nil || currency == "" {
		return nil
	}
	return &api.MoneyText{Amount: amount(*d), Currency: currency}
}

// amount is a sum with two decimals at least, and no zeros behind further ones.
func amount(d decimal.Decimal) string {
	if -d.Exponent() <= 2 || d.Equal(d.Truncate(2)) {
		return d.StringFixed(2)
	}
	return d.String()
}

// Event implements api.Reading.
func (d *Desk) Event(ctx context.Context, id string, personalData bool) (api.EventView, error) {
	e, err := d.Store.Event(ctx, id)
	if err != nil {
		return api.EventView{}, refused(err)
	}
	v := api.EventView{
		EventSummary: summary(e.EventRow, personalData), PersonalData: personalData,
		Email: masked(personalData, e.Email), GivenName: masked(personalData, e.GivenName), Surname: masked(personalData, e.Surname), Phone: masked(personalData, e.Phone),
		PayerID: masked(personalData, e.PayerID), Country: e.Country, CustomID: redacted(personalData, e.CustomID), InvoiceID: redacted(personalData, e.InvoiceID),
		Resource: e.Resource, Sequence: e.Sequence, RefundedTotal: money(e.RefundedTotal, e.RefundedCurrency), Links: []api.NamedText{}, Deliveries: e.DeliveryIDs,
		Fields: make(map[string]string, len(e.Fields)), BodyBytes: int64(len(e.Body)), BodyHash: e.BodyHash, Fingerprint: e.Fingerprint,
		Place:   api.RecordPlace{Topic: e.Coordinates.Topic, Partition: e.Coordinates.Partition, Offset: e.Coordinates.Offset},
		Records: summaries(e.Records, personalData),
	}
	for i, id := range e.Links {
		v.Links = append(v.Links, api.NamedText{Name: e.Relations[i], Value: id})
	}
	place := strings.TrimSpace(e.PostalCode + " " + e.City)
	for _, line := range []string{e.Line1, e.Line2, place, e.Region} {
		if line != "" {
			v.Address = append(v.Address, masked(personalData, line))
		}
	}
	v.Address = slices.Compact(v.Address)
	for name, value := range e.Fields {
		v.Fields[name] = masked(personalData, value)
	}
	if personalData {
		v.Body, v.Headers = e.Body, e.Headers
	}
	return v, nil
}
