import type { Tone } from "../../ui";

export const statuses = [
  "DRAFT", "PENDING", "APPROVED", "AUTHORIZED", "PARTIALLY_PAID", "PAID", "PARTIALLY_REFUNDED", "REFUNDED", "FAILED", "DISPUTED", "CHARGED_BACK", "EXPIRED", "CANCELLED", "VOIDED", "ACTIVE", "SUSPENDED", "UNKNOWN",
];
export const kinds = ["ORDER", "SUBSCRIPTION", "PAYMENT", "REFUND", "DISPUTE", "OTHER"];

const tones: Record<string, Tone> = {
  PAID: "good", ACTIVE: "good", PARTIALLY_PAID: "info", APPROVED: "info", AUTHORIZED: "info", PENDING: "info", FAILED: "bad", DISPUTED: "bad", CHARGED_BACK: "bad", SUSPENDED: "warn", EXPIRED: "warn",
  PARTIALLY_REFUNDED: "warn", REFUNDED: "warn", CANCELLED: "warn", VOIDED: "warn",
};

export function statusTone(status: string): Tone {
  return tones[status] ?? "none";
}
