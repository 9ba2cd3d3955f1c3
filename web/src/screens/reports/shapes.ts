export type Value = string | number | boolean | null;
export interface ReportInfo { name: string; title: string; definition: string; view: string; money: boolean; chart: { plot: string; x: string; y: string; series: string[] | null } }
export interface ReportColumn { name: string; type: string; unit: string }
export interface Report extends ReportInfo { columns: ReportColumn[]; rows: Value[][] | null; opens: string[] | null; truncated: boolean; as_of: string; sql: string }
