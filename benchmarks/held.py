"""A small S3 that holds what it is given, and answers faster than clients can ask: nginx with Lua, all of it in memory.

    python benchmarks/held.py            # prints its address and runs until Ctrl-C

Puts (in one part), gets, heads, copies, deletes and listings, as programs that synchronise folders use them. Objects are
files of a folder in memory, named by numbers; what is known of them is a table. Bodies are read to their last byte, ETags
name one write each, and signatures and digests are not checked. Real servers spend ten to forty times what nginx does on
a request, on the same processors as the client: beside them no client would be told from another. Needs the Debian
packages nginx-light and libnginx-mod-http-lua.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sink import MODULES, die_with_parent, free_ports, stop, wait_until_ready

#: Every bucket is there that anybody names.
PROGRAM = r"""
local ffi = require "ffi"
ffi.cdef "int link(const char *old, const char *new); int unlink(const char *path); int rename(const char *old, const char *new);"
local folder = "@FOLDER@/objects/"
local HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
local buckets, count = {}, 0
local M = {}

local function bucket_of(name)
  local found = buckets[name]
  if not found then
    found = {objects = {}, sorted = {}}
    buckets[name] = found
  end
  return found
end

local function reply(status, name, inner)
  local text = name and HEAD .. "<" .. name .. ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' .. inner .. "</" .. name .. ">" or ""
  ngx.status = status
  if name then ngx.header["Content-Type"] = "application/xml" end
  ngx.header["Content-Length"] = #text
  if ngx.req.get_method() ~= "HEAD" then ngx.print(text) end
  return ngx.exit(ngx.OK)
end

local function failed(status, code)
  return reply(status, "Error", "<Code>" .. code .. "</Code><Message>" .. code .. "</Message>")
end

local function escaped(text)
  return (text:gsub("[&<>]", {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;"}))
end

local function split(path)
  local bucket, key = path:match("^/?([^/]+)/?(.*)$")
  return bucket_of(bucket or ""), key or ""
end

local function described(size, meta)
  count = count + 1
  local now = ngx.time()
  return {
    file = tostring(count), size = size, meta = meta, etag = string.format('"%032x-1"', count),
    modified = ngx.http_time(now), listed = os.date("!%Y-%m-%dT%H:%M:%S.000Z", now),
  }
end

local function keep(bucket, key, object)
  local old = bucket.objects[key]
  if old then ffi.C.unlink(folder .. old.file) else bucket.sorted = nil end
  bucket.objects[key] = object
end

local function metadata(headers)
  local meta = {}
  for name, value in pairs(headers) do
    if name:sub(1, 11) == "x-amz-meta-" or name == "content-type" then meta[name] = value end
  end
  return meta
end

local function put(bucket, key)
  if key == "" then return reply(200) end
  local headers = ngx.req.get_headers(100)
  local source = headers["x-amz-copy-source"]
  if source then
    local other, name = split(ngx.unescape_uri(source))
    local found = other.objects[name]
    if not found then return failed(404, "NoSuchKey") end
    local object = described(found.size, headers["x-amz-metadata-directive"] == "REPLACE" and metadata(headers) or found.meta)
    if ffi.C.link(folder .. found.file, folder .. object.file) ~= 0 then return failed(500, "InternalError") end
    keep(bucket, key, object)
    return reply(200, "CopyObjectResult", "<LastModified>" .. object.listed .. "</LastModified><ETag>" .. object.etag .. "</ETag>")
  end
  if headers["if-none-match"] == "*" and bucket.objects[key] then return failed(412, "PreconditionFailed") end
  ngx.req.read_body()
  local temporary = ngx.req.get_body_file()
  local size = tonumber(headers["content-length"]) or 0
  local object = described(size, metadata(headers))
  if temporary then
    ffi.C.rename(temporary, folder .. object.file)
  else
    local file = assert(io.open(folder .. object.file, "wb"))
    file:write(ngx.req.get_body_data() or "")
    file:close()
  end
  keep(bucket, key, object)
  ngx.header["ETag"] = object.etag
  return reply(200)
end

local function sorted(bucket)
  if not bucket.sorted then
    local names = {}
    for key in pairs(bucket.objects) do names[#names + 1] = key end
    table.sort(names)
    bucket.sorted = names
  end
  return bucket.sorted
end

-- The place of the first name that is greater than `text`, or not smaller where `equal`.
local function place(names, text, equal)
  local low, high = 1, #names + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local name = names[middle]
    if name < text or (name == text and not equal) then low = middle + 1 else high = middle end
  end
  return low
end

local function list(bucket, query)
  local names, prefix, delimiter = sorted(bucket), query["prefix"] or "", query["delimiter"] or ""
  if prefix == true then prefix = "" end
  if delimiter == true then delimiter = "" end
  local most = tonumber(query["max-keys"]) or 1000
  local after = query["continuation-token"] or query["start-after"] or query["marker"]
  local at = place(names, prefix, true)
  if after and after ~= true and after >= prefix then at = place(names, after, false) end
  local rows, folders, given, last, group = {}, {}, 0, nil, nil
  local more = false
  while at <= #names do
    local key = names[at]
    if key:sub(1, #prefix) ~= prefix then break end
    local stop = delimiter ~= "" and key:find(delimiter, #prefix + 1, true)
    local folder_name = stop and key:sub(1, stop)
    if not (folder_name and (folder_name == group or (after and after ~= true and after:sub(1, #folder_name) == folder_name))) then
      if given == most then more = true; break end
      given = given + 1
      if folder_name then
        group = folder_name
        folders[#folders + 1] = "<CommonPrefixes><Prefix>" .. escaped(folder_name) .. "</Prefix></CommonPrefixes>"
      else
        local object = bucket.objects[key]
        rows[#rows + 1] = "<Contents><Key>" .. escaped(key) .. "</Key><LastModified>" .. object.listed ..
          "</LastModified><ETag>&quot;" .. object.etag:sub(2, -2) .. "&quot;</ETag><Size>" .. object.size ..
          "</Size><StorageClass>STANDARD</StorageClass></Contents>"
      end
    end
    last = key
    at = at + 1
  end
  local token = more and "<NextContinuationToken>" .. escaped(last) .. "</NextContinuationToken>" or ""
  return reply(200, "ListBucketResult", "<Name>b</Name><Prefix>" .. escaped(prefix) .. "</Prefix><KeyCount>" .. given ..
    "</KeyCount><MaxKeys>" .. most .. "</MaxKeys><IsTruncated>" .. tostring(more) .. "</IsTruncated>" .. token ..
    table.concat(rows) .. table.concat(folders))
end

local function delete(bucket, key)
  local found = bucket.objects[key]
  if found then
    ffi.C.unlink(folder .. found.file)
    bucket.objects[key] = nil
    bucket.sorted = nil
  end
end

local function delete_many(bucket)
  ngx.req.read_body()
  local text = ngx.req.get_body_data() or ""
  local told = {}
  for key in text:gmatch("<Key>([^<]*)</Key>") do
    delete(bucket, (key:gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&quot;", '"'):gsub("&amp;", "&")))
    told[#told + 1] = "<Deleted><Key>" .. key .. "</Key></Deleted>"
  end
  return reply(200, "DeleteResult", table.concat(told))
end

local function get(bucket, key)
  local object = bucket.objects[key]
  if not object then return failed(404, "NoSuchKey") end
  for name, value in pairs(object.meta) do ngx.header[name] = value end
  ngx.header["ETag"] = object.etag
  ngx.header["Last-Modified"] = object.modified
  if ngx.req.get_method() == "HEAD" then
    ngx.header["Content-Length"] = object.size
    return ngx.exit(ngx.OK)
  end
  return ngx.exec("/-file/" .. object.file)
end

function M.answer()
  local bucket, key = split(ngx.unescape_uri(ngx.var.request_uri:match("^[^?]*")))
  local method = ngx.req.get_method()
  if method == "PUT" then return put(bucket, key) end
  if method == "POST" then return delete_many(bucket) end
  if method == "DELETE" then
    delete(bucket, key)
    return reply(204)
  end
  if key ~= "" then return get(bucket, key) end
  if method == "HEAD" then return reply(200) end
  local query = ngx.req.get_uri_args()
  if query["location"] then return reply(200, "LocationConstraint", "") end
  return list(bucket, query)
end

return M
"""

CONFIGURATION = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
master_process off;     # one process, which ends when it is told to, and has one table
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  keepalive_timeout 300;
  etag off;
  default_type application/octet-stream;
  client_max_body_size 0;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/unused;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
  lua_code_cache on;
  lua_package_path "{folder}/?.lua;;";
  init_by_lua_block {{ held = require "held" }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ content_by_lua_block {{ held.answer() }} }}
    location /-file/ {{ internal; alias {folder}/objects/; if_modified_since off; }}
  }}
}}
"""


class Held(NamedTuple):
    """A running server: its address, and the id of its process."""

    url: str
    pid: int


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Held]:
    """The server, with its data in the empty folder ``folder``; it ends with the block or with this process."""
    if not shutil.which("nginx") or not (MODULES / "ngx_http_lua_module.so").exists():
        raise SystemExit("this needs nginx with Lua: apt-get install nginx-light libnginx-mod-http-lua")
    for name in ("objects", "bodies"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "held.lua").write_text(PROGRAM.replace("@FOLDER@", str(folder)))
    port = free_ports()[0]
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, modules=MODULES, port=port))
    line = ["nginx", "-p", folder, "-c", file]
    process = subprocess.Popen(line, preexec_fn=die_with_parent(), cwd=folder)  # noqa: PLW1509  # before any thread
    try:
        wait_until_ready(process, port, "/bench?list-type=2")
        yield Held(f"http://127.0.0.1:{port}", process.pid)
    finally:
        stop(process)


def main() -> None:
    """Run until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="mgs-held-", dir="/dev/shm") as folder,
        running(Path(folder)) as server,
    ):
        print(server.url, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
