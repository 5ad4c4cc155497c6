"use strict";
// A camera that orbits a point. World axes: +y up; azimuth 0 is on +z and 90 on +x; elevation is positive from above;
// angles are in degrees. Camera axes: +x right, +y down, +z forward.

const radians = (degrees) => (degrees * Math.PI) / 180;
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

class OrbitCamera {
  /** @param home initial azimuth, elevation, distance and fovy (full angle across the shorter side). */
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

  /** Moves the target by pixels to the right and down, in an image of this size. */
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
