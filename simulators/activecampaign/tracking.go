package activecampaign

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// track is the tracking endpoint: another host at the provider, with its own key and no Api-Token.
func (s *Server) track(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	fail := func(message string) { answer(w, http.StatusBadRequest, object{"success": 0, "message": message}) }
	if err := r.ParseForm(); err != nil {
		fail("Could not read the form")
		return
	}
	var visit struct{ Email string }
	_ = json.Unmarshal([]byte(r.PostForm.Get("visit")), &visit)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Events++
	name, data := r.PostForm.Get("event"), r.PostForm.Get("eventdata")
	switch {
	case r.PostForm.Get("actid") != s.opts.Account:
		fail("Invalid account")
		return
	case r.PostForm.Get("key") != s.opts.EventKey:
		fail("Invalid key")
		return
	case name == "" || len([]rune(name)) > eventNameCharsMax:
		fail("Invalid event")
		return
	case visit.Email == "":
		fail("Invalid visit")
		return
	case !s.account.tracking:
		// A refusal inside a 200: documented as success 0.
		answer(w, http.StatusOK, object{"success": 0, "message": "Event tracking is not enabled"})
		return
	}
	s.account.record(visit.Email, name, data, s.opts.Now())
	answer(w, http.StatusOK, object{"success": 1, "message": "Event spawned"})
}

// record keeps the event. A name is created on first use and an unknown address is ignored, neither documented.
func (a *account) record(email, name, data string, at time.Time) {
	if !slices.Contains(a.events, name) {
		a.events = append(a.events, name)
	}
	to := a.byEmail[strings.ToLower(email)]
	a.tracked = newest(append(a.tracked, Tracked{Email: email, Event: name, Data: data, At: at, Known: to != nil}))
	if to == nil {
		return
	}
	if r := []rune(data); len(r) > eventDataCharsMax {
		data = string(r[:eventDataCharsMax])
	}
	rows := append(a.logs[to.id], trackingLog{a.next("trackingLog"), name, data, at})
	if len(rows) > rowsOfContactMax {
		rows = slices.Delete(rows, 0, 1)
	}
	a.logs[to.id] = rows
	a.fire(to, "event:"+name, at)
}

func trackingLogs(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	logs := c.a.logs[to.id]
	var rows []object
	for _, l := range paged(logs, c.q) {
		rows = append(rows, object{
			"id": text(l.id), "subscriberid": text(to.id), "contact": text(to.id), "type": l.event, "value": l.data,
			"tstamp": stamp(l.at), "hash": "", "links": object{},
		})
	}
	return http.StatusOK, collection("trackingLogs", rows, len(logs), nil), nil
}

func getEventTracking(c *call) (int, any, *refusal) {
	return http.StatusOK, object{"eventTracking": object{"enabled": c.a.tracking}}, nil
}

func setEventTracking(c *call) (int, any, *refusal) {
	var in struct {
		EventTracking *struct{ Enabled bool }
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.EventTracking == nil {
		return 0, nil, emptyRefusal(http.StatusBadRequest)
	}
	c.a.tracking = in.EventTracking.Enabled
	return getEventTracking(c)
}

func listEvents(c *call) (int, any, *refusal) {
	var rows []object
	for _, e := range c.a.events {
		rows = append(rows, object{"name": e})
	}
	return http.StatusOK, collection("eventTrackingEvents", paged(rows, c.q), len(rows), nil), nil
}

func createEvent(c *call) (int, any, *refusal) {
	var in struct {
		EventTrackingEvent *struct{ Name string }
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.EventTrackingEvent == nil || in.EventTrackingEvent.Name == "" {
		return 0, nil, missingAttribute("name")
	}
	if !slices.Contains(c.a.events, in.EventTrackingEvent.Name) {
		c.a.events = append(c.a.events, in.EventTrackingEvent.Name)
	}
	return http.StatusCreated, object{"eventTrackingEvent": object{"name": in.EventTrackingEvent.Name}}, nil
}

func deleteEvent(c *call) (int, any, *refusal) {
	i := slices.Index(c.a.events, c.path("name"))
	if i < 0 {
		return 0, nil, noResult(http.StatusNotFound, "Event", c.path("name"))
	}
	c.a.events = slices.Delete(c.a.events, i, i+1)
	return http.StatusOK, object{}, nil
}
