// Checks a DSSE envelope with the verifier of Sigstore's npm client.
//
//     node record.js MODULES ENVELOPE PUBLIC-KEY-IN-HEX
//
// MODULES is a folder that @sigstore/bundle and @sigstore/verify were installed to. Exit 0 if the
// envelope holds. Certificates, timestamps and Sigstore's own logs are left out: the key is given.

const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

const [modules, file, hex] = process.argv.slice(2);
const find = (name) => require(path.join(modules, "node_modules", name));
const { bundleFromJSON } = find("@sigstore/bundle");
const { toSignedEntity, Verifier } = find("@sigstore/verify");

const envelope = JSON.parse(fs.readFileSync(file, "utf8"));
const hint = envelope.signatures[0].keyid;
const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(hex, "hex")]);
const publicKey = crypto.createPublicKey({ key: spki, format: "der", type: "spki" });

const bundle = bundleFromJSON({
  mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
  verificationMaterial: { publicKey: { hint }, tlogEntries: [] },
  dsseEnvelope: envelope,
});
const trust = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: (wanted) => {
    if (wanted !== hint) throw new Error(`no key ${wanted}`);
    return { publicKey, validFor: () => true };
  },
};
const none = { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 };
new Verifier(trust, none).verify(toSignedEntity(bundle));
