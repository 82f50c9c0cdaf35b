// What a mark stands for, told by pointer, finger and keyboard. The page is whole without this.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const scroll = document.querySelector(".scroll");
  const SVG = "http://www.w3.org/2000/svg";

  // Text is only ever set as text: it may hold anything that a server has answered.
  // It is said below the drawing that the mark is in.
  function teller(mark) {
    const detail = mark.closest("section").querySelector(".detail");
    detail.dataset.hint ??= detail.textContent;
    return (text, wrong = false) => {
      detail.textContent = text || detail.dataset.hint;
      detail.className = text ? (wrong ? "detail told wrong" : "detail told") : "detail";
    };
  }

  function words([at, took, serial, failure]) {
    const came = failure === null ? `answered after ${took} ms` : `FAILED after ${took} ms: ${data.failures[failure]}`;
    return `At ${(at / 1000).toFixed(2)} s, certificate ${data.serials[serial].slice(0, 8) || "none"}: ${came}`;
  }

  for (const lane of document.querySelectorAll(".lane")) {
    const tell = teller(lane);
    const index = Number(lane.dataset.lane);
    const height = Number(lane.dataset.height);
    const requests = data.requests.filter((request) => request[4] === index);
    const cursor = lane.appendChild(document.createElementNS(SVG, "circle"));
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("r", "6");
    cursor.setAttribute("visibility", "hidden");
    let current = -1;

    const y = ([, took, , failure]) => {
      if (failure !== null) return 10;
      const part = Math.log(Math.min(Math.max(took, data.low), data.high) / data.low) / Math.log(data.high / data.low);
      return height - data.bottom - part * (height - data.top - data.bottom);
    };

    function show(position, byKey) {
      if (!requests.length) return;
      current = Math.max(0, Math.min(requests.length - 1, position));
      const request = requests[current];
      cursor.setAttribute("cx", `${(100 * request[0]) / data.total}%`);
      cursor.setAttribute("cy", y(request));
      cursor.setAttribute("visibility", "visible");
      const text = `${data.lanes[index]}, request ${current + 1} of ${requests.length}. ${words(request)}`;
      lane.setAttribute("aria-valuenow", current + 1);
      lane.setAttribute("aria-valuetext", text);
      tell(text, request[3] !== null);
      if (byKey) reveal(lane.getBoundingClientRect().left + (lane.clientWidth * request[0]) / data.total);
    }

    function hide() {
      cursor.setAttribute("visibility", "hidden");
      tell("");
    }

    function nearest(event) {
      const box = lane.getBoundingClientRect();
      const x = event.clientX - box.left;
      const up = event.clientY - box.top;
      const perMs = box.width / data.total;
      let best = 0;
      let least = Infinity;
      requests.forEach((request, position) => {
        // A failed request is easier to hit than what lies around it.
        const far = Math.hypot(request[0] * perMs - x, request[3] === null ? y(request) - up : 0);
        const distance = request[3] === null ? far : far - 8;
        if (distance < least) [least, best] = [distance, position];
      });
      return best;
    }

    // The next request from here at which something holds, in one direction; here itself if there is none.
    function seek(direction, holds) {
      for (let at = current + direction; at >= 0 && at < requests.length; at += direction) {
        if (holds(requests[at])) return at;
      }
      return current;
    }

    lane.addEventListener("pointermove", (event) => show(nearest(event), false));
    lane.addEventListener("pointerdown", (event) => show(nearest(event), false));
    lane.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    lane.addEventListener("focus", () => lane.matches(":focus-visible") && show(Math.max(current, 0), true));
    lane.addEventListener("blur", hide);
    lane.addEventListener("keydown", (event) => {
      const failed = (request) => request[3] !== null;
      const now = requests[Math.max(current, 0)]?.[0] ?? 0;
      const moves = {
        ArrowRight: () => current + 1,
        ArrowUp: () => current + 1,
        ArrowLeft: () => current - 1,
        ArrowDown: () => current - 1,
        PageDown: () => seek(1, (request) => request[0] >= now + 1000),
        PageUp: () => seek(-1, (request) => request[0] <= now - 1000),
        Home: () => 0,
        End: () => requests.length - 1,
        f: () => seek(1, failed),
        F: () => seek(-1, failed),
      };
      if (event.key === "Escape") hide();
      if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      show(moves[event.key](), true);
    });
  }

  // Scrolls the time line, and never the page, so far that a place on it is seen.
  function reveal(x) {
    const box = scroll.getBoundingClientRect();
    if (x < box.left + 80) scroll.scrollLeft -= box.left + 120 - x;
    if (x > box.right - 24) scroll.scrollLeft += x - box.right + 80;
  }

  for (const mark of document.querySelectorAll(".mark")) {
    const tell = teller(mark);
    const text = mark.getAttribute("aria-label");
    const wrong = mark.matches(".bad, .stopped");
    mark.addEventListener("pointerenter", () => tell(text, wrong));
    mark.addEventListener("pointerdown", () => tell(text, wrong));
    mark.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && tell(""));
    mark.addEventListener("focus", () => {
      tell(text, wrong);
      if (scroll.contains(mark)) reveal(mark.getBoundingClientRect().left);
    });
    mark.addEventListener("blur", () => tell(""));
    mark.addEventListener("keydown", (event) => {
      const marks = [...mark.parentNode.querySelectorAll(":scope > .mark")];
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") tell("");
      if (!step) return;
      event.preventDefault();
      const next = marks[marks.indexOf(mark) + step];
      if (!next) return;
      mark.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus({ preventScroll: true });
    });
  }
})();
