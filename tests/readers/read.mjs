// What mailparser and postal-mime read of each file: a JSON line for each, as all readers here print it.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { simpleParser } from "mailparser";
import PostalMime from "postal-mime";

const hash = (content) => createHash("sha256").update(content).digest("hex");
const [reader, ...paths] = process.argv.slice(2);
for (const path of paths) {
  const content = readFileSync(path);
  if (reader === "mailparser") {
    const mail = await simpleParser(content);
    const files = mail.attachments.map((file) => [file.filename, hash(file.content)]);
    console.log(JSON.stringify([mail.subject, mail.from.value[0].name, mail.from.value[0].address, mail.text, files]));
  } else {
    const mail = await PostalMime.parse(content);
    const files = mail.attachments.map((file) => [file.filename, hash(Buffer.from(file.content))]);
    console.log(JSON.stringify([mail.subject, mail.from.name, mail.from.address, mail.text, files]));
  }
}
