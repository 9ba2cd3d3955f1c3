package api

// QueryRequest is the body of POST /query.
type QueryRequest struct {
	SQL  string `json:"sql"` // one statement that only reads
	Rows int    `json:"rows,omitempty"`
}

// QueryAnswer is the answer of POST /query. Decimals and 64-bit numbers are strings, times RFC 3339.
type QueryAnswer struct {
	Columns   []ReportColumn `json:"columns"`
	Rows      [][]any        `json:"rows"`
	Truncated bool           `json:"truncated"`
	Millis    int64          `json:"ms"`
}
