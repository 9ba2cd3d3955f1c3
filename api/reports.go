package api

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// ReportInfo is what a report is about.
type ReportInfo struct {
	Name       string      `json:"name"`
	Title      string      `json:"title"`
	Definition string      `json:"definition"` // what its columns mean and what it counts
	View       string      `json:"view"`       // in ClickHouse
	Money      bool        `json:"money"`      // has a column currency, whose values must not be added up
	Chart      ReportChart `json:"chart"`
}

// ReportChart is how its rows are best drawn.
type ReportChart struct {
	Plot   string   `json:"plot"` // line or bars
	X      string   `json:"x"`    // columns
	Y      string   `json:"y"`
	Series []string `json:"series"` // rows that differ in one of these are not joined
}

// ReportList is the answer of GET /reports.
type ReportList struct {
	Items []ReportInfo `json:"items"`
}

// ReportQuery says what a report is asked.
type ReportQuery struct {
	Name         string
	Since, Until time.Time // zero: without end
	Store        string
	Currency     string
	Environment  schemas.Environment // empty: live
	Limit        int                 // rows
}

// ReportColumn is one column.
type ReportColumn struct {
	Name string `json:"name"`
	Type string `json:"type"` // text, number, money, time, day, yes_no
	Unit string `json:"unit"` // count, seconds, ms, share (0 to 1), currency (of the column currency), months; empty: none
}

// ReportAnswer is the answer of GET /reports/{name}. Money and other decimals are strings, times RFC 3339, days 2026-11-01.
type ReportAnswer struct {
	ReportInfo
	Columns []ReportColumn `json:"columns"`
	Rows    [][]any        `json:"rows"`
	// Opens is, for each row, the page that lists what is behind it; empty: there is none.
	Opens     []string  `json:"opens"`
	Truncated bool      `json:"truncated"` // there are more rows than the limit
	AsOf      time.Time `json:"as_of"`
	SQL       string    `json:"sql"` // the statement, for POST /query and for spreadsheets
}
