// The token that a router may want of readers: asked for when it is missing, and kept for this tab.

import { html } from "./svg.js";

const NAME = "ringkv-token";

let token = kept();

function kept() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null; // a browser that keeps nothing
  }
}

/** The token that is sent; null without one. */
export const current = () => token;

/** Fetch a path for which the router may want a token. */
export function read(path, headers = {}, signal = undefined) {
  const said = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
  return fetch(path, { cache: "no-store", headers: said, signal });
}

/** The field in which the token is entered; then `again` is called. */
export function tokenForm(again) {
  const field = html("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    required: "",
    pattern: "[A-Za-z0-9._~+\\/\\-]+=*",
    title: "Letters, digits and -._~+/",
    placeholder: "Token",
  });
  const form = html("form", { id: "tell" }, html("label", { for: "token", class: "unseen" }, "Token"), field, html("button", {}, "Use this token"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token = field.value;
    try {
      sessionStorage.setItem(NAME, token);
    } catch {
      // It is known until the page is loaded again.
    }
    again();
  });
  return form;
}
