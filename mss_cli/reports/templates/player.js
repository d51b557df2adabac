// Players that hold all versions of an excerpt on one clock: every version runs all the time, and only one is let through.
(() => {
  const SEEK_SECONDS = 1;
  const FADE_SECONDS = 0.008; // short enough to compare by ear, long enough not to click
  const LEAD_SECONDS = 0.03; // all sources are told to start at one moment a little ahead
  const SHORTEST_LOOP = 0.1;
  let context = null;
  const players = [];

  function bytesOf(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  function timeText(seconds) {
    const tenths = Math.floor(seconds * 10 + 1e-6);
    return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  }

  class Player {
    constructor(root) {
      this.root = root;
      this.seconds = Number(root.dataset.seconds);
      this.lanes = [...root.querySelectorAll(".lane")];
      this.peaks = this.lanes.map((lane) => new Int8Array(bytesOf(lane.dataset.peaks).buffer));
      this.active = 0;
      this.position = 0; // where the clock stands while paused
      this.startedAt = null; // context time at which `position` was, or will be, heard
      this.region = [0, this.seconds];
      this.loop = false;
      this.buffers = null;
      this.voices = [];
      this.run = 0; // counts plays, so that a play that waits for its sound can see that it was called off
      this.wanted = false;
      this.frame = 0; // the one picture frame asked for
      this.range = root.querySelector("input[type=range]");
      this.listen();
      this.show();
    }

    listen() {
      const actions = {
        play: () => this.toggle(),
        loop: () => this.setLoop(!this.loop),
        from: () => this.setEnd(0, this.now()),
        to: () => this.setEnd(1, this.now()),
        whole: () => this.setRegion(0, this.seconds),
      };
      for (const button of this.root.querySelectorAll("[data-do]")) {
        button.addEventListener("click", (event) => this.press(event, actions[button.dataset.do]));
      }
      this.lanes.forEach((lane, index) => {
        lane.querySelector(".version").addEventListener("click", (event) => this.press(event, () => this.choose(index)));
        this.drag(lane.querySelector(".pictures"));
      });
      this.range.addEventListener("input", () => this.seek(Number(this.range.value)));
      new ResizeObserver(() => this.draw()).observe(this.lanes[0].querySelector(".pictures"));
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    // After a click with the mouse the keys shall act on the player; after one by keyboard focus stays where it is.
    press(event, action) {
      if (event.detail > 0) this.root.focus({ preventScroll: true });
      action();
    }

    // A click goes there; a drag chooses the loop.
    drag(area) {
      let from = null;
      const at = (event) => {
        const box = area.getBoundingClientRect();
        return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * this.seconds;
      };
      area.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        from = { x: event.clientX, time: at(event) };
        area.setPointerCapture(event.pointerId);
      });
      area.addEventListener("pointerup", (event) => {
        if (from === null) return;
        const [start, moved] = [from.time, Math.abs(event.clientX - from.x)];
        from = null;
        this.root.focus({ preventScroll: true });
        if (moved < 5) return this.seek(start);
        this.setRegion(start, at(event));
        this.setLoop(true);
      });
      area.addEventListener("pointercancel", () => { from = null; });
    }

    get playing() { return this.startedAt !== null; }

    // The shared clock: seconds into the excerpt that are heard now.
    now() {
      if (!this.playing) return this.position;
      const passed = this.position + Math.max(0, context.currentTime - this.startedAt);
      const [from, to] = this.region;
      if (this.loop) return passed < to ? passed : from + ((passed - from) % (to - from));
      return Math.min(passed, this.seconds);
    }

    async toggle() {
      if (this.wanted) return this.pause();
      this.wanted = true;
      const run = ++this.run;
      for (const other of players) if (other !== this) other.pause();
      context ??= new AudioContext();
      this.show();
      try {
        await Promise.all([context.resume(), this.load()]);
      } catch {
        this.wanted = false;
        this.root.classList.add("no-sound");
        this.say("this browser cannot decode the sound together; use the single players");
        return this.show();
      }
      if (run !== this.run || !this.wanted) return;
      if (this.position >= this.seconds - 0.01) this.position = 0;
      this.start();
    }

    async load() {
      if (this.buffers !== null) return;
      this.say("decoding…");
      this.buffers = await Promise.all(this.lanes.map((lane) => {
        const source = lane.querySelector("audio").src;
        return context.decodeAudioData(bytesOf(source.slice(source.indexOf(",") + 1)).buffer);
      }));
      this.say("");
    }

    start() {
      const [from, to] = this.region;
      if (this.loop && (this.position < from || this.position >= to)) this.position = from;
      const moment = context.currentTime + LEAD_SECONDS;
      this.voices = this.buffers.map((buffer, index) => {
        const source = context.createBufferSource();
        const gain = context.createGain();
        source.buffer = buffer;
        source.loop = this.loop;
        source.loopStart = from;
        source.loopEnd = to;
        gain.gain.value = index === this.active ? 1 : 0;
        source.connect(gain).connect(context.destination);
        source.start(moment, this.position);
        return { source, gain };
      });
      this.startedAt = moment;
      this.show();
      this.tick();
    }

    halt() {
      for (const { source, gain } of this.voices) {
        source.stop();
        gain.disconnect();
      }
      this.voices = [];
    }

    pause() {
      this.wanted = false;
      this.run++;
      if (this.playing) {
        this.position = this.now();
        this.startedAt = null;
        this.halt();
      }
      this.show();
    }

    // Does `change` to what is played and goes on from where that leads.
    restart(change) {
      const playing = this.playing;
      this.position = this.now();
      this.startedAt = null;
      this.halt();
      change();
      if (playing) this.start();
      this.show();
    }

    seek(seconds) {
      this.restart(() => { this.position = Math.min(this.seconds, Math.max(0, seconds)); });
    }

    setLoop(on) { this.restart(() => { this.loop = on; }); }

    setRegion(one, other) {
      let [from, to] = [Math.min(one, other), Math.max(one, other)];
      if (to - from < SHORTEST_LOOP) {
        from = Math.max(0, Math.min(from, this.seconds - SHORTEST_LOOP));
        to = Math.min(this.seconds, from + SHORTEST_LOOP);
      }
      this.restart(() => { this.region = [from, to]; });
    }

    // Moves one end of the loop; an end that passes the other one opens the loop again on that side.
    setEnd(end, seconds) {
      const [from, to] = this.region;
      if (end === 0) this.setRegion(seconds, seconds < to ? to : this.seconds);
      else this.setRegion(seconds > from ? from : 0, seconds);
      if (!this.loop) this.setLoop(true);
    }

    choose(index) {
      if (index >= this.lanes.length) return;
      this.active = index;
      this.voices.forEach(({ gain }, voice) => {
        gain.gain.setTargetAtTime(voice === index ? 1 : 0, context.currentTime, FADE_SECONDS / 3);
      });
      this.show();
    }

    say(text) { this.root.querySelector(".said").textContent = text; }

    tick() {
      if (!this.playing) return;
      if (!this.loop && this.now() >= this.seconds) {
        this.pause();
        this.position = 0;
      }
      this.place();
      cancelAnimationFrame(this.frame);
      if (this.playing) this.frame = requestAnimationFrame(() => this.tick());
    }

    // Puts clock, slider and the line over the pictures where the sound is.
    place() {
      const now = this.now();
      this.root.dataset.position = now.toFixed(3);
      this.root.querySelector(".now").textContent = timeText(now);
      this.range.value = now;
      this.range.setAttribute("aria-valuetext", `${now.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
      for (const lane of this.lanes) lane.querySelector(".head").style.left = `${(100 * now) / this.seconds}%`;
    }

    show() {
      const button = (name) => this.root.querySelector(`[data-do=${name}]`);
      button("play").setAttribute("aria-pressed", String(this.wanted));
      button("play").firstElementChild.textContent = this.wanted ? "❚❚" : "▶";
      button("play").querySelector(".text").textContent = this.wanted ? "Pause" : "Play";
      button("loop").setAttribute("aria-pressed", String(this.loop));
      const whole = this.region[0] === 0 && this.region[1] === this.seconds;
      const span = whole ? "whole excerpt" : `${timeText(this.region[0])} to ${timeText(this.region[1])}`;
      button("loop").querySelector(".text").textContent = this.loop ? span : "off";
      this.lanes.forEach((lane, index) => {
        lane.classList.toggle("active", index === this.active);
        lane.querySelector(".version").setAttribute("aria-pressed", String(index === this.active));
        const region = lane.querySelector(".region");
        region.hidden = whole;
        region.style.left = `${(100 * this.region[0]) / this.seconds}%`;
        region.style.width = `${(100 * (this.region[1] - this.region[0])) / this.seconds}%`;
        region.classList.toggle("on", this.loop);
      });
      this.place();
      this.draw();
    }

    draw() {
      this.lanes.forEach((lane, index) => {
        const canvas = lane.querySelector("canvas");
        const scale = devicePixelRatio || 1;
        const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
        const colour = getComputedStyle(canvas).color;
        const drawn = `${width} ${height} ${colour}`;
        if (!width || canvas.dataset.drawn === drawn) return;
        canvas.dataset.drawn = drawn;
        [canvas.width, canvas.height] = [width, height];
        const pen = canvas.getContext("2d");
        pen.fillStyle = colour;
        const peaks = this.peaks[index], pairs = peaks.length / 2;
        for (let x = 0; x < width; x++) {
          const first = Math.floor((x * pairs) / width);
          const last = Math.max(first + 1, Math.floor(((x + 1) * pairs) / width));
          let low = 127, high = -127;
          for (let pair = first; pair < last; pair++) {
            low = Math.min(low, peaks[2 * pair]);
            high = Math.max(high, peaks[2 * pair + 1]);
          }
          const top = ((127 - high) / 254) * height, bottom = ((127 - low) / 254) * height;
          pen.fillRect(x, top, 1, Math.max(scale, bottom - top));
        }
      });
    }
  }

  for (const root of document.querySelectorAll(".player")) players.push(new Player(root));

  // Keys act on the player that has the focus, or else on the one that plays.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const player = players.find((each) => each.root.contains(target)) ?? players.find((each) => each.wanted);
    if (!player || target.closest("select, textarea, audio")) return;
    const onButton = target.closest("button, a, summary") !== null;
    const step = SEEK_SECONDS * (event.shiftKey ? 0.1 : 1);
    const actions = {
      ArrowLeft: () => player.seek(player.now() - step),
      ArrowRight: () => player.seek(player.now() + step),
      l: () => player.setLoop(!player.loop),
      a: () => player.setEnd(0, player.now()),
      b: () => player.setEnd(1, player.now()),
    };
    // A focused button keeps the space bar for itself, as everywhere.
    if (!onButton) actions[" "] = () => player.toggle();
    for (let digit = 1; digit <= 9; digit++) actions[digit] = () => player.choose(digit - 1);
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    if (event.repeat && !event.key.startsWith("Arrow")) return;
    action();
  });
})();
