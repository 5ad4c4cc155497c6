"use strict";
// The controls of the page. An image is rendered only when the time or the view has changed.

const BACKGROUNDS = ["#f3f2ef", "#ffffff", "#808080", "#15171a"];
const element = (id) => document.getElementById(id);

class Player {
  constructor(scene, data) {
    this.scene = scene;
    this.canvas = element("canvas");
    this.renderer = new SplatRenderer(this.canvas, scene, data);
    this.camera = new OrbitCamera(scene.camera);
    this.moves = scene.numTimes > 1;
    this.time = 0;
    this.playing = false;
    this.pending = false;
    element("timeline").hidden = !this.moves;
    element("fullscreen").hidden = !document.fullscreenEnabled;
    this.listen();
    this.setBackground(BACKGROUNDS[0]);
    this.setPlaying(this.moves && !matchMedia("(prefers-reduced-motion: reduce)").matches);
    this.readAddress();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  listen() {
    element("play").onclick = () => this.setPlaying(!this.playing);
    element("scrub").oninput = (event) => this.seek(Number(event.target.value));
    element("loop").onclick = () => this.toggleLoop();
    element("background").oninput = (event) => this.setBackground(event.target.value);
    element("reset").onclick = () => this.view(() => this.camera.reset());
    element("fullscreen").onclick = () => this.toggleFullscreen();
    addEventListener("keydown", (event) => this.press(event));
    addEventListener("hashchange", () => this.readAddress());
    this.canvas.addEventListener("webglcontextrestored", () => location.reload());
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    new Gestures(this);
    this.saving = new Saving(this);
    setTimeout(() => element("hint").classList.add("gone"), 5000);
  }

  /** Reads #time=0.5&azimuth=90&elevation=10&distance=2&target=0,0.1,0&background=ffffff&bar=0 from the address. */
  readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of ["azimuth", "elevation", "distance"]) {
      if (isFinite(parseFloat(given.get(name)))) this.camera[name] = parseFloat(given.get(name));
    }
    const target = (given.get("target") ?? "").split(",").map(parseFloat);
    if (target.length === 3 && target.every(isFinite)) this.camera.target = target;
    if (/^[0-9a-f]{6}$/i.test(given.get("background"))) this.setBackground(`#${given.get("background")}`);
    if (isFinite(parseFloat(given.get("time")))) this.seek(clamp(parseFloat(given.get("time")), 0, 1));
    element("bar").hidden = element("hint").hidden = given.get("bar") === "0";
    this.invalidate();
  }

  get loops() {
    return element("loop").getAttribute("aria-pressed") === "true";
  }

  toggleLoop() {
    element("loop").setAttribute("aria-pressed", String(!this.loops));
  }

  setPlaying(playing) {
    if (playing && this.time === 1 && !this.loops) this.time = 0;
    this.playing = playing;
    this.last = undefined;
    element("play").setAttribute("aria-pressed", String(playing));
    element("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    this.invalidate();
  }

  /** Pauses at a time in [0, 1]. */
  seek(time) {
    this.time = time;
    this.setPlaying(false);
  }

  stepFrame(by) {
    const { times } = this.scene;
    const next = by > 0 ? times.find((time) => time > this.time + 1e-6) : times.findLast((time) => time < this.time - 1e-6);
    this.seek(next ?? (by > 0 ? 1 : 0));
  }

  stepSpeed(by) {
    const speed = element("speed");
    speed.selectedIndex = clamp(speed.selectedIndex + by, 0, speed.length - 1);
  }

  setBackground(hex) {
    this.background = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
    element("background").value = document.body.style.background = hex;
    const [r, g, b] = this.background;
    document.body.dataset.shade = 0.3 * r + 0.59 * g + 0.11 * b < 0.5 ? "dark" : "light";
    this.invalidate();
  }

  toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen();
  }

  /** Changes the camera and renders. */
  view(change) {
    change();
    element("hint").classList.add("gone");
    this.invalidate();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inList = event.target.tagName === "SELECT";
    const onButton = event.target.tagName === "BUTTON";
    const actions = {
      " ": () => !onButton && this.moves && this.setPlaying(!this.playing),
      ArrowLeft: () => this.moves && this.stepFrame(-1),
      ArrowRight: () => this.moves && this.stepFrame(1),
      "[": () => this.stepSpeed(-1),
      "]": () => this.stepSpeed(1),
      "+": () => this.view(() => this.camera.zoom(1 / 1.1)),
      "=": () => this.view(() => this.camera.zoom(1 / 1.1)),
      "-": () => this.view(() => this.camera.zoom(1.1)),
      a: () => this.view(() => this.camera.orbit(-10, 0)),
      d: () => this.view(() => this.camera.orbit(10, 0)),
      w: () => this.view(() => this.camera.orbit(0, 10)),
      s: () => this.view(() => this.camera.orbit(0, -10)),
      l: () => this.toggleLoop(),
      b: () => this.setBackground(BACKGROUNDS[(BACKGROUNDS.indexOf(element("background").value) + 1) % BACKGROUNDS.length]),
      c: () => this.saving.copyLink(),
      p: () => this.saving.savePicture(),
      v: () => element("clip").hidden || element("clip").click(),
      r: () => this.view(() => this.camera.reset()),
      f: () => document.fullscreenEnabled && this.toggleFullscreen(),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || inList || (onButton && event.key === " ")) return;
    event.preventDefault();
    action();
  }

  resize() {
    const density = Math.min(devicePixelRatio, 2); // more is not visible and costs four times as much
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * density));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * density));
    this.draw(); // immediately: a resized canvas is empty
  }

  invalidate() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.pending = false;
    if (this.playing) this.advance(now);
    this.draw();
    if (this.playing) this.invalidate();
  }

  advance(now) {
    const seconds = this.last === undefined ? 0 : (now - this.last) / 1000;
    this.last = now;
    this.time += (seconds * Number(element("speed").value)) / this.scene.duration;
    if (this.time < 1) return;
    this.onPass?.(); // set while a clip is recorded
    if (this.loops) this.time %= 1;
    else this.seek(1);
  }

  draw() {
    const { times, duration } = this.scene;
    const after = times.findIndex((time) => time > this.time);
    const b = after < 0 ? times.length - 1 : Math.max(after, Math.min(1, times.length - 1));
    const a = Math.max(0, b - 1);
    const weight = b > a ? clamp((this.time - times[a]) / (times[b] - times[a]), 0, 1) : 0;
    this.renderer.draw(this.camera, a, b, weight, this.background);
    element("scrub").value = this.time;
    element("label").value = `${(this.time * duration).toFixed(2)} / ${duration.toFixed(2)} s`;
    element("scrub").setAttribute("aria-valuetext", `${(this.time * duration).toFixed(2)} seconds`);
  }
}

/** Mouse, pen and touch gestures on the canvas. */
class Gestures {
  constructor(player) {
    this.player = player;
    this.pointers = new Map();
    const canvas = player.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => player.view(() => player.camera.reset()));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  down(event) {
    this.player.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    const { camera, canvas } = this.player;
    const pan = (factor) => camera.pan(factor * dx, factor * dy, canvas.clientWidth, canvas.clientHeight);
    this.player.view(() => {
      if (other) {
        const distance = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
        camera.zoom(distance(before) / distance(now));
        pan(0.5); // the midpoint of two fingers moves half as far as one of them
      } else if (event.buttons & 6 || event.shiftKey) pan(1);
      else camera.orbit((-360 * dx) / Math.min(canvas.clientWidth, canvas.clientHeight), (180 * dy) / canvas.clientHeight);
    });
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    this.player.view(() => this.player.camera.zoom(1.15 ** clamp(lines, -3, 3)));
  }
}

async function start() {
  try {
    const scene = JSON.parse(element("scene").textContent);
    new Player(scene, unpackFrames(await readData(element("data")), scene));
    document.body.dataset.state = "ready";
    performance.mark("ready");
  } catch (error) {
    document.body.dataset.state = "failed";
    element("message").textContent = `The object cannot be shown. ${error.message}`;
    throw error;
  }
}

start();
