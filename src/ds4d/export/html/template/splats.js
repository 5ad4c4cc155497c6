"use strict";
// Gaussian splatting in WebGL2. Each Gaussian is a rectangle, blended back to front. The vertex shader interpolates it
// between two frames, projects it and evaluates its color, with the same arithmetic as ds4d's renderers.

const VERTEX_SHADER = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;

uniform usampler2D order, frameA, frameB;
uniform sampler2D rest;        // view-dependent colors, one texel per basis
uniform float weight;          // of frame B
uniform vec4 low[4], steps[4]; // dequantization, by texel
uniform vec3 restLow[15], restStep[15];
uniform int bases;             // number of spherical harmonics, K
uniform mat3 rotation;         // world to camera
uniform vec3 position;         // of the camera
uniform vec2 size;             // of the image, pixels
uniform float focal;           // pixels

out vec3 color;
out vec2 offset;               // from the center, in standard deviations
flat out float opacity;

const float BLUR = 0.3, MAX_EXTENT = 3.33;

int index; // of the Gaussian

vec4 part(int which) {
  ivec2 at = ivec2(4 * (index % ${PER_ROW}) + which, index / ${PER_ROW});
  vec4 whole = mix(vec4(texelFetch(frameA, at, 0)), vec4(texelFetch(frameB, at, 0)), weight);
  return low[which] + steps[which] * whole;
}

mat3 rotationMatrix(vec4 q) { // wxyz
  q = normalize(q);
  vec3 a = q.yzw + q.yzw, s = a * q.yzw, w = a * q.x;
  float xy = a.x * q.z, xz = a.x * q.w, yz = a.y * q.w;
  return mat3(1.0 - s.y - s.z, xy + w.z, xz - w.y,
              xy - w.z, 1.0 - s.x - s.z, yz + w.x,
              xz + w.y, yz - w.x, 1.0 - s.x - s.y);
}

vec3 coefficient(int basis) {
  int at = index * (bases - 1) + basis;
  return restLow[basis] + restStep[basis] * 255.0 * texelFetch(rest, ivec2(at % 2048, at / 2048), 0).rgb;
}

vec3 viewDependent(vec3 d) {
  float x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
  vec3 sum = 0.4886025 * (z * coefficient(1) - y * coefficient(0) - x * coefficient(2));
  if (bases > 4) {
    sum += 1.0925484 * (x * y * coefficient(3) - y * z * coefficient(4) - x * z * coefficient(6));
    sum += 0.3153916 * (2.0 * zz - xx - yy) * coefficient(5) + 0.5462742 * (xx - yy) * coefficient(7);
  }
  if (bases > 9) {
    sum -= 0.5900436 * (y * (3.0 * xx - yy) * coefficient(8) + x * (xx - 3.0 * yy) * coefficient(14));
    sum += 2.8906114 * x * y * z * coefficient(9) + 1.4453057 * z * (xx - yy) * coefficient(13);
    sum -= 0.4570458 * (4.0 * zz - xx - yy) * (y * coefficient(10) + x * coefficient(12));
    sum += 0.3731763 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy) * coefficient(11);
  }
  return sum;
}

void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0); // outside the image, unless it is visible
  int slot = gl_VertexID / 6, corner = gl_VertexID % 6; // two triangles: corners 0 1 2 and 2 1 3
  corner = corner < 3 ? corner : corner == 3 ? 2 : corner == 4 ? 1 : 3;
  index = int(texelFetch(order, ivec2(slot % 2048, slot / 2048), 0).r);
  vec4 center = part(0);
  opacity = 1.0 / (1.0 + exp(-center.w));
  vec3 inCamera = rotation * (center.xyz - position);
  if (opacity < 1.0 / 255.0 || inCamera.z < 0.01) return;

  // The covariance in the image, linearized at most 0.15 of its size outside of it.
  vec2 slope = inCamera.xy / inCamera.z, limit = 1.3 * 0.5 * size / focal;
  vec2 ray = clamp(slope, -limit, limit);
  float perUnit = focal / inCamera.z;
  mat3 axes = rotation * rotationMatrix(part(1));
  vec3 scales = exp(part(2).xyz);
  vec3 row0 = perUnit * scales * vec3(axes[0].x - ray.x * axes[0].z, axes[1].x - ray.x * axes[1].z,
                                      axes[2].x - ray.x * axes[2].z);
  vec3 row1 = perUnit * scales * vec3(axes[0].y - ray.y * axes[0].z, axes[1].y - ray.y * axes[1].z,
                                      axes[2].y - ray.y * axes[2].z);
  float xx = dot(row0, row0) + BLUR, xy = dot(row0, row1), yy = dot(row1, row1) + BLUR;

  // The principal axes span the rectangle, as far as the Gaussian is visible.
  float middle = 0.5 * (xx + yy), spread = length(vec2(0.5 * (xx - yy), xy));
  float most = middle + spread, least = max(middle - spread, 1e-6);
  vec2 along = xx >= yy ? vec2(most - yy + 1e-9, xy) : vec2(xy, most - xx + 1e-9);
  along = normalize(along);
  float extent = min(MAX_EXTENT, sqrt(2.0 * log(255.0 * opacity)));
  offset = extent * vec2(corner & 1, corner >> 1) * 2.0 - extent;
  vec2 pixel = focal * slope + offset.x * sqrt(most) * along + offset.y * sqrt(least) * vec2(-along.y, along.x);
  gl_Position = vec4(2.0 * pixel.x / size.x, -2.0 * pixel.y / size.y, 0.0, 1.0);

  color = 0.5 + 0.28209479 * part(3).xyz;
  if (bases > 1) color += viewDependent(normalize(center.xyz - position));
  color = max(color, 0.0);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 color;
in vec2 offset;
flat in float opacity;
out vec4 pixel;

void main() {
  float alpha = min(0.999, opacity * exp(-0.5 * dot(offset, offset)));
  if (alpha < 1.0 / 255.0) discard;
  pixel = vec4(color * alpha, alpha);
}`;

class SplatRenderer {
  /** @param scene the description of the scene in the page. @param data the result of unpackFrames. */
  constructor(canvas, scene, data) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("This browser does not support WebGL2.");
    this.gl = gl;
    this.frames = data.frames;
    this.count = scene.numGaussians;
    this.sorter = new DepthSorter(scene);
    this.program = linkProgram(gl);
    gl.useProgram(this.program);
    this.slots = [0, 1].map((unit) => ({ unit, frame: -1, texture: frameTexture(gl, unit, data.rows) }));
    restTexture(gl, 2, data.rest);
    orderTexture(gl, 3, scene.numGaussians);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.setConstants(scene);
  }

  at(name) {
    return this.gl.getUniformLocation(this.program, name);
  }

  setConstants(scene) {
    const gl = this.gl;
    const spread = (values) => {
      const out = new Float32Array(HALFWORDS);
      values.forEach((value, channel) => (out[HALFWORD_OF[channel]] = value));
      return out;
    };
    gl.uniform4fv(this.at("low"), spread(scene.low));
    gl.uniform4fv(this.at("steps"), spread(scene.step));
    gl.uniform1i(this.at("rest"), 2);
    gl.uniform1i(this.at("order"), 3);
    gl.uniform1i(this.at("bases"), scene.shBases);
    if (scene.shBases > 1) {
      gl.uniform3fv(this.at("restLow"), scene.shLow.flatMap((x) => [x, x, x]));
      gl.uniform3fv(this.at("restStep"), scene.shStep.flatMap((x) => [x, x, x]));
    }
  }

  /** The texture unit that holds a frame; two neighboring frames have different ones. */
  unitOf(frame) {
    const slot = this.slots[frame % 2];
    if (slot.frame !== frame) {
      const gl = this.gl;
      gl.activeTexture(gl.TEXTURE0 + slot.unit);
      const rows = this.frames[frame].length / (PER_ROW * HALFWORDS);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 4 * PER_ROW, rows, gl.RGBA_INTEGER, gl.UNSIGNED_SHORT, this.frames[frame]);
      slot.frame = frame;
    }
    return slot.unit;
  }

  /** Renders the object between frames a and b, with the weight of b, over a color [r, g, b] in [0, 1]. */
  draw(camera, a, b, weight, background) {
    const gl = this.gl;
    const { width, height } = gl.canvas;
    const axes = camera.axes();
    const position = camera.position();
    gl.viewport(0, 0, width, height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform1i(this.at("frameA"), this.unitOf(a));
    gl.uniform1i(this.at("frameB"), this.unitOf(b));
    gl.uniform1f(this.at("weight"), weight);
    gl.uniformMatrix3fv(this.at("rotation"), true, axes.flat());
    gl.uniform3fv(this.at("position"), position);
    gl.uniform2f(this.at("size"), width, height);
    gl.uniform1f(this.at("focal"), camera.focal(width, height));
    const order = this.sorter.sort(this.frames[a], this.frames[b], weight, axes[2], position);
    gl.activeTexture(gl.TEXTURE3);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 2048, order.length / 2048, gl.RED_INTEGER, gl.UNSIGNED_INT, order);
    // No instancing: very small instances are slow, with and without a GPU.
    gl.drawArrays(gl.TRIANGLES, 0, 6 * this.count);
  }
}

/** Counting sort of the Gaussians from far to near, exact to 1/65536 of the depth range, before every image. */
class DepthSorter {
  constructor(scene) {
    this.count = scene.numGaussians;
    this.low = scene.low.slice(0, 3);
    this.step = scene.step.slice(0, 3);
    this.depths = new Float32Array(this.count);
    this.order = new Uint32Array(2048 * Math.ceil(this.count / 2048)); // whole rows of a texture
    this.ends = new Uint32Array(65537);
  }

  sort(a, b, weight, forward, position) {
    const { count, depths, order, ends } = this;
    // Depth is linear in the stored integers.
    const [x, y, z] = forward.map((f, i) => f * this.step[i]);
    const zero = forward.reduce((sum, f, i) => sum + f * (this.low[i] - position[i]), 0);
    const [p, q] = [1 - weight, weight];
    let least = Infinity, most = -Infinity;
    for (let n = 0, i = 0; n < count; n++, i += HALFWORDS) {
      depths[n] = zero + x * (p * a[i] + q * b[i]) + y * (p * a[i + 1] + q * b[i + 1]) + z * (p * a[i + 2] + q * b[i + 2]);
      const depth = depths[n]; // as rounded in the array, so that none lies outside the range
      if (depth < least) least = depth;
      if (depth > most) most = depth;
    }
    const scale = 65535 / Math.max(most - least, 1e-9);
    ends.fill(0);
    for (let n = 0; n < count; n++) ends[1 + (((most - depths[n]) * scale) | 0)]++;
    for (let k = 1; k <= 65536; k++) ends[k] += ends[k - 1];
    for (let n = 0; n < count; n++) order[ends[((most - depths[n]) * scale) | 0]++] = n;
    return order;
  }
}

function linkProgram(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

function bindTexture(gl, unit) {
  const texture = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  return texture;
}

function frameTexture(gl, unit, rows) {
  const texture = bindTexture(gl, unit);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA16UI, 4 * PER_ROW, rows);
  return texture;
}

function orderTexture(gl, unit, count) {
  bindTexture(gl, unit);
  gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32UI, 2048, Math.ceil(count / 2048));
}

function restTexture(gl, unit, rest) {
  const texels = rest.length / 3;
  const rows = Math.max(1, Math.ceil(texels / 2048));
  const padded = new Uint8Array(2048 * rows * 4);
  for (let i = 0; i < texels; i++) padded.set(rest.subarray(3 * i, 3 * i + 3), 4 * i);
  bindTexture(gl, unit);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 2048, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, padded);
}
