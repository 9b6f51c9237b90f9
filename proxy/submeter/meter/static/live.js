// Keeps the page up to date: the header and the list of calls every two seconds, the sums when there are new calls.
// Everything from outside is set as text, never as markup.
"use strict";

(() => {
  const POLL_MS = 2000;
  const SHOWN = 50;
  const MISSING = "–";
  const byId = (id) => document.getElementById(id);

  // -- figures, as the server writes them ----------------------------------------------------------------------

  const count = (value) => (value === null ? MISSING : value.toLocaleString("en-US"));

  function ms(ns) {
    if (ns === null) return MISSING;
    const digits = ns >= 1e7 ? 0 : 1;
    return (ns / 1e6).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }

  // Integers all the way: millionths of a dollar line up, and the title has the rest.
  function usd(nano) {
    const micro = Math.round(nano / 1000);
    if (nano > 0 && micro === 0) return "<$0.000001";
    return `$${Math.floor(micro / 1e6).toLocaleString("en-US")}.${String(micro % 1e6).padStart(6, "0")}`;
  }

  const exact = (nano) => `$${Math.floor(nano / 1e9)}.${String(nano % 1e9).padStart(9, "0")}`;

  // Characters that hide or reorder what is around them are shown as what they are.
  const visible = (text) => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\x${c.codePointAt(0).toString(16)}`);

  // The browser knows the reader's clock; the ledger has UTC with nanoseconds.
  const moment = (rfc3339) => new Date(`${rfc3339.slice(0, 23)}Z`);

  function timeOfDay(at) {
    const today = at.toDateString() === new Date().toDateString();
    const more = today ? { second: "2-digit" } : { day: "numeric", month: "short" };
    return at.toLocaleString(undefined, { ...more, hour: "numeric", minute: "2-digit" });
  }

  function localise() {
    for (const time of document.querySelectorAll("time")) time.textContent = timeOfDay(moment(time.dateTime));
  }

  // -- the list of calls ---------------------------------------------------------------------------------------

  const isHit = (call) => call.cache === "hit" || call.cache === "coalesced";

  function cost(call) {
    if (isHit(call)) {
      const saved = call.saved_nano_usd;
      return saved === null ? ["from the cache", ""] : [`saved ${usd(saved)}`, `saved ${exact(saved)}`];
    }
    if (call.cost_nano_usd !== null) {
      const mark = call.cost_state === "exact" ? "" : "~";
      return [mark + usd(call.cost_nano_usd), `${call.cost_state}: ${exact(call.cost_nano_usd)}`];
    }
    const [low, high] = [call.cost_low_nano_usd, call.cost_high_nano_usd];
    if (call.cost_state === "indeterminate" && low !== null && high !== null) {
      return [`≤ ${usd(high)}`, `indeterminate, end unknown: ${exact(low)} to ${exact(high)}`];
    }
    return [call.cost_state === "unpriced" ? "no price" : call.cost_state, ""];
  }

  const WORDS = {
    upstream_error: ["error", "bad"],
    upstream_incomplete: ["incomplete", "bad"],
    client_gone: ["client gone", "warn"],
    timeout: ["timeout", "bad"],
    indeterminate: ["unknown", "warn"],
  };

  function result(call) {
    if (call.outcome === "ok") return isHit(call) ? [call.cache, "good"] : ["ok", ""];
    const [word, kind] = WORDS[call.outcome] ?? [call.outcome, "bad"];
    return [call.status === null || call.status < 400 ? word : `${word} ${call.status}`, kind];
  }

  function makeRow(call, key) {
    const row = byId("call").content.firstElementChild.cloneNode(true);
    row.dataset.key = key;
    const set = (cell, text, title = "", kind = "") => {
      const element = row.querySelector(`[data-cell="${cell}"]`);
      element.textContent = text;
      if (title) element.title = title;
      if (kind) element.classList.add(kind);
      return element;
    };
    const name = (cell, text) =>
      text === null ? set(cell, MISSING, "", "none") : set(cell, visible(text), visible(text));
    const at = moment(call.started_at);
    set("time", timeOfDay(at), `${at.toLocaleString()} · ${call.call_id}`).href =
      `/api/calls/${encodeURIComponent(call.call_id)}`;
    name("team", call.team);
    name("app", call.app);
    name("model", call.model_served === null ? call.model_requested : call.model_served);
    set("input", count(call.input_tokens));
    set("output", count(call.output_tokens));
    set("cost", ...cost(call), call.cost_nano_usd === null || call.saved_nano_usd !== null ? "none" : "");
    set("ttft", ms(call.ttft_ns));
    set("e2e", ms(call.e2e_ns));
    const [word, kind] = result(call);
    set("result", word, call.finish_reason === null ? "" : `finish reason: ${visible(call.finish_reason)}`, kind);
    return row;
  }

  // A settled call never changes: rows are put in where they belong and fall off the end, none is drawn again.
  function showCalls(calls, fresh) {
    const body = byId("latest");
    const newestFirst = [...calls].reverse();
    let next = body.firstElementChild;
    for (const call of newestFirst) {
      const key = `${call.call_id}/${call.attempt}`;
      if (next !== null && next.dataset.key === key) {
        next = next.nextElementSibling;
        continue;
      }
      const row = makeRow(call, key);
      if (fresh) row.classList.add("fresh");
      body.insertBefore(row, next);
    }
    while (body.childElementCount > SHOWN) body.lastElementChild.remove();
  }

  // -- the header ----------------------------------------------------------------------------------------------

  function showStatus(status) {
    const bad = status.degraded || !status.ready;
    byId("state").className = `state ${bad ? "bad" : "good"}`;
    byId("state-word").textContent = bad ? "degraded" : "metering";
    byId("in-flight").textContent = count(status.in_flight);
    byId("lag").textContent = `${status.lag_s.toFixed(1)} s`;
    return bad;
  }

  function showOffline() {
    byId("state").className = "state bad";
    byId("state-word").textContent = "no answer, trying again";
  }

  // -- the sums: the server renders the page once more, and only what differs is exchanged ----------------------

  function exchange(old, now) {
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    old.replaceWith(now);
    now.querySelectorAll(".scroll").forEach((box, at) => (box.scrollLeft = scrolled[at] ?? 0));
  }

  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (page.body.dataset.state !== document.body.dataset.state) {
      location.reload();
      return;
    }
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = page.getElementById(old.id);
      if (now !== null && now.outerHTML !== old.outerHTML) exchange(old, document.adoptNode(now));
    }
    localise();
    document.title = page.title;
    document.body.dataset.refreshMs = page.body.dataset.refreshMs;
    document.dispatchEvent(new Event("submeter:refreshed"));
  }

  // -- the clock of it all -------------------------------------------------------------------------------------

  const hasCalls = document.body.dataset.state === "calls";
  let refreshedAt = performance.now();
  let newestShown = null;
  let wasBad = byId("state").classList.contains("bad");

  function take(calls, fresh) {
    showCalls(calls, fresh);
    return calls.length === 0 ? null : calls[calls.length - 1].call_id;
  }

  async function get(path) {
    const answer = await fetch(path, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(path);
    return answer.json();
  }

  async function poll() {
    const isBad = showStatus(await get("/api/status"));
    const newest = hasCalls ? take(await get(`/api/calls?last=${SHOWN}`), true) : null;
    const due = performance.now() - refreshedAt >= Number(document.body.dataset.refreshMs);
    const stale = !hasCalls || (due && newest !== newestShown) || isBad !== wasBad;
    if (!stale) return;
    await refresh();
    [newestShown, wasBad, refreshedAt] = [newest, isBad, performance.now()];
  }

  let timer = 0;

  async function loop() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      await poll();
    } catch {
      showOffline();
    }
    clearTimeout(timer);
    timer = setTimeout(loop, POLL_MS);
  }

  localise();
  if (hasCalls) newestShown = take(JSON.parse(byId("latest-calls").textContent), false);
  document.addEventListener("visibilitychange", loop);
  timer = setTimeout(loop, POLL_MS);
})();
