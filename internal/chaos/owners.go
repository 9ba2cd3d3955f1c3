package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ownersLimit bounds the wait until processes and groups agree on who has what; at rest nothing is on its way.
const ownersLimit = 20 * time.Second

// parted are the parts of a process that own partitions, with their groups.
var parted = map[string]string{"stage orders": "tillstream-orders", "stage automation": "tillstream-automation", "deliver": "tillstream-deliver"}

// owners: at rest each process believes that it has exactly the partitions that its groups give it. One that holds on to
// a partition it has lost would do another's work.
func (w *world) owners(ctx context.Context) {
	var wrong []string
	err := await(ctx, ownersLimit, "processes and groups agree", func(ctx context.Context) error {
		wrong = nil
		given, err := w.given(ctx)
		if err != nil {
			return err
		}
		for _, k := range w.workers[:workerCount] {
			held, err := k.held(ctx)
			if err != nil {
				return err
			}
			for part, group := range parted {
				if want := given[group][k.name]; !slices.Equal(held[part], want) {
					wrong = append(wrong, fmt.Sprintf("%s of %s believes it has %v, its group gives it %v", part, k.name, held[part], want))
				}
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%s", strings.Join(wrong, "; "))
		}
		return nil
	})
	if err != nil && len(wrong) == 0 {
		w.found.add("owner", "all", "%v", err)
	}
	for _, text := range wrong {
		w.found.add("owner", "at rest", "%s", text)
	}
}

// given is what the groups give to each process, by group and client id.
func (w *world) given(ctx context.Context) (map[string]map[string][]int32, error) {
	var names []string
	for _, group := range parted {
		names = append(names, group)
	}
	groups, err := w.cluster.admin.DescribeGroups(ctx, names...)
	if err != nil {
		return nil, err
	}
	given := map[string]map[string][]int32{}
	for _, g := range groups {
		if g.State != "Stable" {
			return nil, fmt.Errorf("group %s is %s: %w", g.Group, g.State, g.Err)
		}
		given[g.Group] = map[string][]int32{}
		for _, m := range g.Members {
			assigned, ok := m.Assigned.AsConsumer()
			if !ok {
				continue
			}
			var list []int32
			for _, t := range assigned.Topics {
				list = append(list, t.Partitions...)
			}
			slices.Sort(list)
			given[g.Group][m.ClientID] = slices.Compact(list)
		}
	}
	return given, nil
}

// held is what a process says that it has, by part.
func (k *worker) held(ctx context.Context) (map[string][]int32, error) {
	body, _, err := k.ask(ctx, "/status")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Parts []struct {
			Name   string          `json:"name"`
			Status json.RawMessage `json:"status"`
		} `json:"parts"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, fmt.Errorf("%s: status: %w", k.name, err)
	}
	held := map[string][]int32{}
	for _, p := range answer.Parts {
		list, err := partitionsIn(p.Status)
		if err != nil {
			return nil, fmt.Errorf("%s: status of %s: %w", k.name, p.Name, err)
		}
		held[p.Name] = list
	}
	return held, nil
}

// partitionsIn reads the partitions out of a part's status, which is a list of them or holds one, by number or with
// more beside it.
func partitionsIn(raw json.RawMessage) (list []int32, err error) {
	var outer struct {
		Partitions json.RawMessage `json:"partitions"`
	}
	if json.Unmarshal(raw, &outer) == nil && outer.Partitions != nil {
		raw = outer.Partitions
	}
	if json.Unmarshal(raw, &list) != nil {
		var full []struct {
			Partition int32 `json:"partition"`
		}
		if len(raw) > 0 && raw[0] == '[' {
			err = json.Unmarshal(raw, &full)
		}
		list = nil
		for _, p := range full {
			list = append(list, p.Partition)
		}
	}
	slices.Sort(list)
	return list, err
}
