# What Ruby's Mail reads of each file: a JSON line for each, as all readers here print it.
require "digest"
require "json"
require "mail"

ARGV.each do |path|
  mail = Mail.new(File.binread(path))
  files = mail.attachments.map { |file| [file.filename, Digest::SHA256.hexdigest(file.decoded)] }
  text = mail.multipart? ? (mail.text_part ? mail.text_part.decoded : "") : mail.decoded
  from = mail[:from].addrs.first
  puts JSON.generate([mail.subject.to_s, from.display_name.to_s, from.address, text, files])
end
