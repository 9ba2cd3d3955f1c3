package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// FeedEvents is the list of all events of the account.
const FeedEvents = "events"

const (
	pollEvery = 5 * time.Minute
	// eventLate: an event is listed at once; the minute covers what is still being written.
	eventLate = time.Minute
	// eventReach is how long Stripe lists events.
	eventReach = 30 * 24 * time.Hour
	pageMax    = 100 // Stripe's bound of a page
	// failedPagesMax bounds the pages read of what Stripe could not deliver, for one page of events.
	failedPagesMax = 3
)

// Feeds implements connectors.Poller. Without a key there is none.
func (s *source) Feeds() []connectors.Feed {
	if s.api == nil {
		return nil
	}
	return []connectors.Feed{{
		Name: FeedEvents, Every: pollEvery, Late: eventLate, Reach: eventReach, History: true, Match: connectors.MatchEvent,
	}}
}

// eventList is a page of events, newest first.
type eventList struct {
	Data    []json.RawMessage `json:"data"`
	HasMore bool              `json:"has_more"`
}

// head is what is read of an event to page through a list.
type head struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Created int64  `json:"created"`
}

// Poll implements connectors.Poller. Stripe lists the newest first, and what is paged by the last id seen does not shift
// when new events come. The window is widened to whole seconds.
func (s *source) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if s.api == nil || q.Feed != FeedEvents {
		return connectors.Page{}, fmt.Errorf("stripe connection %s has no feed %q", s.env.Connection, q.Feed)
	}
	if q.Cursor != "" {
		if err := checkID("cursor", q.Cursor); err != nil {
			return connectors.Page{}, fmt.Errorf("list events: %w", err)
		}
	}
	to := q.To.Unix()
	if q.To.After(time.Unix(to, 0)) {
		to++
	}
	list, err := s.events(ctx, url.Values{"created[gte]": {unixText(q.From.Unix())}, "created[lt]": {unixText(to)}}, q.Cursor)
	if err != nil {
		return connectors.Page{}, fmt.Errorf("list events: %w", explain(err))
	}
	heads, err := headsOf(list)
	if err != nil {
		return connectors.Page{}, fmt.Errorf("list events: %w", err)
	}
	var page connectors.Page
	now, wanted := s.env.Now(), 0
	for i, h := range heads {
		if !slices.Contains(s.wanted, h.Type) {
			continue // Stripe filters by 20 types at most, and there are more
		}
		wanted++
		page.Found = append(page.Found, connectors.Found{Delivery: connectors.Delivery{
			Connection: s.env.Connection, Environment: s.env.Environment, ID: h.ID, Body: list.Data[i], ReceivedAt: now, Origin: schemas.OriginPoll,
		}})
	}
	if list.HasMore && len(heads) > 0 {
		page.Next = heads[len(heads)-1].ID
	}
	if wanted > 0 {
		if err := s.explainAbsence(ctx, page.Found, heads); err != nil {
			return connectors.Page{}, fmt.Errorf("list undelivered events: %w", explain(err))
		}
	}
	slices.Reverse(page.Found)
	return page, nil
}

func (s *source) events(ctx context.Context, query url.Values, after string) (eventList, error) {
	query.Set("limit", strconv.Itoa(pageMax))
	query.Del("starting_after")
	if after != "" {
		query.Set("starting_after", after)
	}
	var list eventList
	_, err := s.api.Call(ctx, http.MethodGet, eventsPath+"?"+query.Encode(), nil, &list)
	return list, err
}

func unixText(seconds int64) string { return strconv.FormatInt(seconds, 10) }

func headsOf(list eventList) ([]head, error) {
	out := make([]head, len(list.Data))
	for i, raw := range list.Data {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("event %d of the page: %w", i, err)
		}
		if checkID("", out[i].ID) != nil {
			return nil, errors.New("an event of the page has no id")
		}
	}
	return out, nil
}

// explainAbsence asks which events of the page Stripe itself knows to be undelivered.
func (s *source) explainAbsence(ctx context.Context, found []connectors.Found, heads []head) error {
	query := url.Values{
		"created[gte]": {unixText(heads[len(heads)-1].Created)}, "created[lte]": {unixText(heads[0].Created)}, "delivery_success": {"false"},
	}
	undelivered, after := map[string]bool{}, ""
	for range failedPagesMax {
		list, err := s.events(ctx, query, after)
		if err != nil {
			return err
		}
		failed, err := headsOf(list)
		if err != nil {
			return err
		}
		for _, h := range failed {
			undelivered[h.ID], after = true, h.ID
		}
		if !list.HasMore || len(failed) == 0 {
			break
		}
	}
	for i := range found {
		if undelivered[found[i].ID] {
			found[i].Cause = "Stripe has not been able to deliver it to all endpoints, or still tries"
		}
	}
	return nil
}
