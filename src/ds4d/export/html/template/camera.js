"use strict";
// A camera that orbits a point. World: +y up; azimuth 0 looks from +z and grows towards +x; elevation is positive from
// above; angles in degrees. Camera axes: +x right, +y down, +z forward.

const radians = (degrees) => (degrees * Math.PI) / 180;
const clamp = (x, least, most) => Math.min(most, Math.max(least, x));

class OrbitCamera {
  /** @param home azimuth, elevation, distance and fovy (full angle across the shorter side) to begin with. */
  constructor(home) {
    this.home = home;
    this.reset();
  }

  reset() {
    Object.assign(this, this.home, { target: [0, 0, 0] });
  }

  orbit(azimuth, elevation) {
    this.azimuth += azimuth;
    this.elevation = clamp(this.elevation + elevation, -89, 89);
  }

  zoom(factor) {
    this.distance = clamp(this.distance * factor, 0.1 * this.home.distance, 10 * this.home.distance);
  }

  /** Moves what is looked at by pixels to the right and down, for a picture of this size. */
  pan(dx, dy, width, height) {
    const perPixel = this.distance / this.focal(width, height);
    const [right, down] = this.axes();
    this.target = this.target.map((x, i) => x - perPixel * (dx * right[i] + dy * down[i]));
  }

  focal(width, height) {
    return (0.5 * Math.min(width, height)) / Math.tan(0.5 * radians(this.fovy));
  }

  /** Unit vectors to the right, down and forward. */
  axes() {
    const [a, e] = [radians(this.azimuth), radians(this.elevation)];
    return [
      [Math.cos(a), 0, -Math.sin(a)],
      [Math.sin(e) * Math.sin(a), -Math.cos(e), Math.sin(e) * Math.cos(a)],
      [-Math.cos(e) * Math.sin(a), -Math.sin(e), -Math.cos(e) * Math.cos(a)],
    ];
  }

  position() {
    const forward = this.axes()[2];
    return this.target.map((x, i) => x - this.distance * forward[i]);
  }
}
