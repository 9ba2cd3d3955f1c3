package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// previewTimeout bounds each of finding and reading a stored event.
const previewTimeout = 15 * time.Second

// sample makes a transition of the samples in the catalogue of the mapping's connector.
func (v *viewer) sample() error {
	i := slices.IndexFunc(v.cfg.Connections, func(c config.Connection) bool {
		return (len(v.file.Connections) == 0 || slices.Contains(v.file.Connections, c.Name)) &&
			(v.file.Resource == "" || slices.ContainsFunc(c.Connector.Resources, func(r connectors.Resource) bool { return r.ID == v.file.Resource }))
	})
	if i < 0 {
		return fmt.Errorf("%s: no connection of the configuration brings such events: connect one, or preview a stored event with --event", v.doc.File)
	}
	c := v.cfg.Connections[i]
	samples := map[string]string{}
	for _, f := range c.Connector.Fields {
		if !strings.HasSuffix(f.Name, "*") {
			samples[f.Name] = f.Sample
		}
	}
	v.t = sampleTransition(c, samples)
	v.t.Event.Resource = v.file.Resource
	for _, r := range c.Connector.Resources {
		if r.ID == v.file.Resource && len(r.EventTypes) > 0 && !slices.Contains(r.EventTypes, v.t.Event.EventType) {
			v.t.Event.EventType = strings.TrimSuffix(r.EventTypes[0], "*")
		}
	}
	if len(v.file.Events) > 0 {
		v.t.Event.EventType = strings.TrimSuffix(v.file.Events[0], "*")
	}
	v.r.Event.Sample = true
	return nil
}

// sampleTransition is a first event of an order with these values of the names that mappings use.
func sampleTransition(c config.Connection, s map[string]string) *schemas.Transition {
	at, _ := time.Parse(time.RFC3339, s["event.time"]) // a catalogue without one: the zero time
	payer := &schemas.Payer{
		Email: s["payer.email"], GivenName: s["payer.given_name"], Surname: s["payer.surname"], FullName: s["payer.full_name"],
		Phone: s["payer.phone"], PayerID: s["payer.payer_id"],
		Address: schemas.Address{
			Line1: s["payer.address.line1"], Line2: s["payer.address.line2"], City: s["payer.address.city"],
			State: s["payer.address.state"], PostalCode: s["payer.address.postal_code"], Country: s["payer.address.country"],
		},
	}
	e := schemas.OrderEvent{
		EventID: s["event.id"], Kind: schemas.KindOrder, Provider: c.Connector.Type, Environment: c.Environment, Connection: c.Name,
		RootID: s["order.id"], EntityID: s["order.id"], EventType: s["event.type"], ProviderStatus: s["event.status"],
		Status: schemas.PaymentStatus(s["order.status"]), ProviderTime: at, ReceivedAt: at, Origin: schemas.OriginWebhook,
		Payer: payer, CustomID: s["custom_id"], InvoiceID: s["invoice_id"], Fields: s, Test: true,
	}
	if s["order.amount"] != "" {
		e.Amount = &schemas.Amount{Value: s["order.amount"], Currency: s["order.currency"]}
	}
	return &schemas.Transition{
		RootKey: e.Key(), RootKind: schemas.KindOrder, Number: 1, Disposition: schemas.Changed, To: e.Status, Legal: true, Event: e,
		Paid: s["order.paid"], Refunded: s["order.refunded"], Currency: s["order.currency"], Payer: payer,
		ContactKey: schemas.ContactKey(c.Environment, payer), At: at,
	}
}

// stored finds the transition of a stored event in ClickHouse, and reads it from Kafka.
func (v *viewer) stored(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*previewTimeout)
	defer cancel()
	store, err := v.store(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	trace, err := store.Trace(ctx, id)
	if err != nil {
		return err
	}
	var at *chsink.Coordinates
	for _, h := range trace.Hops {
		if h.Kind == chsink.HopTransition {
			at = &h.Coordinates // the last one
		}
	}
	if at == nil {
		return fmt.Errorf("no event %q was applied to an order, as far as ClickHouse knows; 'tillstream trace %s' shows what is known of it", id, id)
	}
	rec, err := v.read(ctx, *at)
	if err != nil {
		return err
	}
	t, ok := rec.(*schemas.Transition)
	if !ok {
		return fmt.Errorf("%s/%d@%d holds no transition any more", at.Topic, at.Partition, at.Offset)
	}
	v.t = t
	return nil
}

func (v *viewer) store(ctx context.Context) (*chsink.Store, error) {
	c := v.cfg.Settings.ClickHouse
	if c.Address == "" {
		return nil, fmt.Errorf("%s names no clickhouse.address, by which a stored event is found; use --sample", config.SettingsFile)
	}
	store, err := chsink.Open(ctx, chsink.Options{Client: app.ClickHouseOptions(c), Now: v.now, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// read reads one record of Kafka.
func (v *viewer) read(ctx context.Context, at chsink.Coordinates) (schemas.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, previewTimeout)
	defer cancel()
	set := v.cfg.Settings
	reg := registry.New(registry.Options{
		URL: set.Registry.URL, User: set.Registry.User, Password: set.Registry.Password,
		CacheFile: set.Registry.CacheFile, HTTP: &http.Client{Timeout: previewTimeout},
	})
	if err := reg.Register(ctx); err != nil {
		return nil, fmt.Errorf("the schema registry at %s is not reached: %w", set.Registry.URL, err)
	}
	c, err := codec.New(reg)
	if err != nil {
		return nil, err
	}
	cl, err := set.Kafka.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{at.Topic: {at.Partition: kgo.NewOffset().At(at.Offset)}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s/%d@%d from kafka: %w", at.Topic, at.Partition, at.Offset, err)
		}
		for _, r := range fetches.Records() {
			if r.Offset == at.Offset {
				return c.Decode(r.Value)
			}
			return nil, fmt.Errorf("%s/%d@%d is no longer kept by kafka: preview a newer event", at.Topic, at.Partition, at.Offset)
		}
	}
}

var chEscapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// before reads what was last asked of the destination for the contact.
func (v *viewer) before(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, previewTimeout)
	defer cancel()
	contact, err := v.lastAsked(ctx)
	if err != nil {
		v.r.NotChecked = append(v.r.NotChecked, "the contact before: "+firstLine(err))
		return
	}
	v.r.Before = contact
}

func (v *viewer) lastAsked(ctx context.Context) (*schemas.Contact, error) {
	store, err := v.store(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	res, err := store.Query(ctx, fmt.Sprintf(`SELECT contact_email, contact_first_name, contact_last_name, contact_phone, toJSONString(contact_fields),
 toJSONString(contact_tags), toJSONString(contact_no_tags) FROM commands WHERE kind = 'CONTACT' AND destination = '%s' AND contact_key = '%s'
 ORDER BY version DESC LIMIT 1`, chEscapes.Replace(v.file.Destination), chEscapes.Replace(v.r.contactKey)), chsink.Limits{Rows: 1})
	if err != nil {
		return nil, err
	}
	if len(res.Rows) == 0 {
		return nil, nil
	}
	row := res.Rows[0]
	c := &schemas.Contact{Email: cell(row[0]), FirstName: cell(row[1]), LastName: cell(row[2]), Phone: cell(row[3])}
	return c, errors.Join(
		json.Unmarshal([]byte(cell(row[4])), &c.Fields), json.Unmarshal([]byte(cell(row[5])), &c.Tags), json.Unmarshal([]byte(cell(row[6])), &c.NoTags))
}
