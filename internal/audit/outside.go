package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// ReadOutside asks the simulators what they sent and hold. client must trust the simulated PayPal's test CA.
func ReadOutside(ctx context.Context, client *http.Client, paypalURL, crmURL string) (Outside, error) {
	var out Outside
	var sent []struct {
		Account       string      `json:"account"`
		EventID       string      `json:"event_id"`
		EventType     string      `json:"event_type"`
		Body          []byte      `json:"body"`
		AcceptedTimes []time.Time `json:"accepted_times"`
	}
	if err := GetJSON(ctx, client, paypalURL+"/_simulator/sent", &sent); err != nil {
		return out, err
	}
	for _, s := range sent {
		out.Sent = append(out.Sent, Sent{Account: s.Account, EventID: s.EventID, Type: s.EventType, Body: s.Body, Accepted: len(s.AcceptedTimes)})
	}
	var contacts []struct {
		Email     string            `json:"email"`
		FirstName string            `json:"first_name"`
		LastName  string            `json:"last_name"`
		Phone     string            `json:"phone"`
		Fields    map[string]string `json:"fields"`
		Tags      []string          `json:"tags"`
		Lists     map[string]int    `json:"lists"`
	}
	if err := GetJSON(ctx, client, crmURL+"/_simulator/contacts", &contacts); err != nil {
		return out, err
	}
	for _, c := range contacts {
		held := CRMContact{Email: c.Email, First: c.FirstName, Last: c.LastName, Phone: c.Phone, Fields: c.Fields, Tags: c.Tags}
		for list, status := range c.Lists {
			if status == ActiveOnList {
				held.Lists = append(held.Lists, list)
			}
		}
		out.Contacts = append(out.Contacts, held)
	}
	var tracked []struct {
		Email string `json:"email"`
		Event string `json:"event"`
		Data  string `json:"data"`
	}
	if err := GetJSON(ctx, client, crmURL+"/_simulator/tracked", &tracked); err != nil {
		return out, err
	}
	for _, t := range tracked {
		out.Tracked = append(out.Tracked, Tracked{Email: t.Email, Name: t.Event, Data: t.Data})
	}
	return out, out.readEffects(ctx, client, crmURL)
}

// ActiveOnList is ActiveCampaign's number for a contact that is on a list.
const ActiveOnList = 1

// readEffects asks the simulated ActiveCampaign account what workflows have done there.
func (out *Outside) readEffects(ctx context.Context, client *http.Client, crmURL string) error {
	out.MessagesStart = true
	for path, into := range map[string]*[]Happened{"enrolments": &out.Starts, "messages": &out.Messages} {
		var rows []struct {
			Email      string `json:"email"`
			Automation string `json:"automation"`
		}
		if err := GetJSON(ctx, client, crmURL+"/_simulator/"+path, &rows); err != nil {
			return err
		}
		for _, row := range rows {
			*into = append(*into, Happened{row.Email, row.Automation})
		}
	}
	for _, path := range []string{"orders", "recurring"} {
		var rows []struct {
			ID string `json:"id"`
		}
		if err := GetJSON(ctx, client, crmURL+"/_simulator/"+path, &rows); err != nil {
			return err
		}
		for _, row := range rows {
			out.Written = append(out.Written, row.ID)
		}
	}
	return nil
}

// GetJSON asks a simulator for one of its truths.
func GetJSON(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the simulator: %s answers %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask the simulator: %s: %w", url, err)
	}
	return nil
}
