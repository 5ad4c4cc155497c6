"use strict";
// What the page gives away: a link to the current time and view, a picture, and a clip of one pass.

const CLIP_TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
const MAX_CLIP_SECONDS = 60;

class Saving {
  /** @param player the page's Player. */
  constructor(player) {
    this.player = player;
    this.type = globalThis.MediaRecorder && CLIP_TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    element("link").onclick = () => this.copyLink();
    element("picture").onclick = () => this.savePicture();
    element("clip").onclick = () => (this.recorder ? this.recorder.stop() : this.recordClip());
    element("clip").hidden = !this.type || !player.canvas.captureStream;
  }

  /** Writes the time and the view into the address, and copies that. */
  async copyLink() {
    const { camera, time, background } = this.player;
    const values = { time, azimuth: camera.azimuth, elevation: camera.elevation, distance: camera.distance };
    if (camera.target.some((x) => x !== 0)) values.target = camera.target.map((x) => x.toFixed(4)).join(",");
    const given = new URLSearchParams(location.hash.slice(1));
    for (const [name, value] of Object.entries(values)) given.set(name, isFinite(value) ? +value.toFixed(4) : value);
    given.set("background", background.map((x) => Math.round(255 * x).toString(16).padStart(2, "0")).join(""));
    history.replaceState(null, "", `#${given}`);
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("Link to this time and view copied");
    } catch {
      this.say("The address of the page is now a link to this time and view"); // the browser does not allow copies
    }
  }

  savePicture() {
    this.player.draw(); // in the same task: a canvas is empty once it was shown
    this.player.canvas.toBlob((blob) => this.save(blob, `${this.name()}.png`), "image/png");
  }

  /** Records one pass from the start, while the view may be moved, or until the button is pressed again. */
  recordClip() {
    const { player, type } = this;
    const stream = player.canvas.captureStream();
    const parts = [];
    this.recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 12e6 });
    this.recorder.ondataavailable = (event) => parts.push(event.data);
    this.recorder.onstop = () => {
      this.recorder = undefined;
      player.onPass = undefined;
      stream.getTracks().forEach((track) => track.stop());
      clearTimeout(this.limit);
      element("clip").setAttribute("aria-pressed", "false");
      this.save(new Blob(parts, { type }), `${this.name()}.${type.includes("mp4") ? "mp4" : "webm"}`);
    };
    element("clip").setAttribute("aria-pressed", "true");
    player.time = 0;
    player.setPlaying(player.moves);
    player.onPass = () => this.recorder?.stop();
    this.limit = setTimeout(() => this.recorder?.stop(), 1000 * MAX_CLIP_SECONDS);
    this.recorder.start();
  }

  name() {
    const seconds = (this.player.time * this.player.scene.duration).toFixed(2);
    return `${document.title.replace(/[^\p{L}\p{N}._-]+/gu, "_")}_${seconds}s`;
  }

  save(blob, name) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  say(text) {
    const hint = element("hint");
    hint.textContent = text;
    hint.classList.remove("gone");
    clearTimeout(this.silence);
    this.silence = setTimeout(() => hint.classList.add("gone"), 4000);
  }
}
