package clickhouse

// WordsOf is wordsOf, for tests.
const WordsOf = wordsOf
