//! The functions of jq by what they may do.

/// Functions that are pure and end. Not here although they are: what may nest values by the record's
/// will (`setpath`, `walk`), multiply them (`transpose`, `combinations`, `inside`), or goes through
/// one value for each of another (`in`, `@sh`).
pub(super) const PURE: &[&str] = &[
    "@base64",
    "@base64d",
    "@html",
    "@json",
    "@text",
    "@uri",
    "abs",
    "add",
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "capture",
    "ceil",
    "contains",
    "empty",
    "endswith",
    "error",
    "exp",
    "exp10",
    "exp2",
    "explode",
    "false",
    "finites",
    "first",
    "flatten",
    "floor",
    "from_entries",
    "fromdate",
    "fromdateiso8601",
    "fromjson",
    "getpath",
    "gmtime",
    "group_by",
    "gsub",
    "has",
    "implode",
    "index",
    "indices",
    "isarray",
    "isboolean",
    "isempty",
    "isfinite",
    "isinfinite",
    "isnan",
    "isnormal",
    "isnumber",
    "isobject",
    "isstring",
    "iterables",
    "join",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "limit",
    "log",
    "log10",
    "log2",
    "ltrim",
    "ltrimstr",
    "map",
    "map_values",
    "match",
    "max",
    "max_by",
    "min",
    "min_by",
    "mktime",
    "normals",
    "not",
    "nth",
    "null",
    "nulls",
    "numbers",
    "objects",
    "paths",
    "pow",
    "recurse",
    "reverse",
    "rindex",
    "round",
    "rtrim",
    "rtrimstr",
    "scalars",
    "scan",
    "select",
    "skip",
    "sort",
    "sort_by",
    "split",
    "splits",
    "sqrt",
    "startswith",
    "strftime",
    "strings",
    "strptime",
    "sub",
    "test",
    "to_entries",
    "toboolean",
    "todate",
    "todateiso8601",
    "tojson",
    "tonumber",
    "tostring",
    "trim",
    "true",
    "trunc",
    "type",
    "unique",
    "unique_by",
    "utf8bytelength",
    "values",
    "with_entries",
];

/// Functions whose answer is not of the record.
pub(super) const IMPURE: &[&str] = &[
    "now",
    "localtime",
    "strflocaltime",
    "env",
    "input",
    "inputs",
    "input_filename",
    "input_line_number",
    "debug",
    "stderr",
    "halt",
    "halt_error",
    "get_search_list",
    "$ENV",
    "$__loc__",
    "$__prog_args",
];

/// Functions that build what they give; all others give a part of what they take, or little.
pub(super) const BUILDS: &[&str] = &[
    "@base64",
    "@base64d",
    "@html",
    "@uri",
    "ascii_downcase",
    "ascii_upcase",
    "explode",
    "flatten",
    "gmtime",
    "group_by",
    "implode",
    "indices",
    "keys",
    "keys_unsorted",
    "map",
    "map_values",
    "paths",
    "reverse",
    "sort",
    "sort_by",
    "split",
    "strftime",
    "strptime",
    "to_entries",
    "unique",
    "unique_by",
];

/// Functions that may build several times what they take.
pub(super) const WIDENS_VALUES: &[&str] = &[
    "@base64",
    "@base64d",
    "@html",
    "@uri",
    "flatten",
    "group_by",
    "keys",
    "keys_unsorted",
    "sort_by",
    "to_entries",
    "unique",
    "unique_by",
];

/// Functions that may build a value of each byte of a text.
pub(super) const WIDENS_BYTES: &[&str] = &["explode", "index", "indices", "rindex", "split"];

/// Functions that compare each value many times.
pub(super) const SORTS: &[&str] = &["group_by", "keys", "sort", "sort_by", "unique", "unique_by"];

/// Functions that keep every result of their argument in an array.
pub(super) const COLLECTS: &[&str] = &["map", "map_values"];

/// Functions that keep every result of their argument to compare by it.
pub(super) const KEEPS: &[&str] = &["group_by", "max_by", "min_by", "sort_by", "unique_by"];

/// Functions whose argument must be a text that stands in the query: of values, they take steps by
/// the product of both sizes, and a format could name a time zone of this machine.
pub(super) const LITERAL: &[&str] = &[
    "contains", "index", "indices", "join", "rindex", "split", "strftime", "strptime",
];

/// Functions of patterns, and the flags that are theirs; the pattern and other flags must stand in
/// the query as well. (The function, its name here, its flags, and whether each element of what it
/// gives is a result.)
pub(super) const PATTERNS: &[(&str, &str, &str, bool)] = &[
    ("capture", super::functions::CAPTURE, "", true),
    ("gsub", super::functions::SUB, "g", false),
    ("match", super::functions::MATCH, "", true),
    ("scan", super::functions::SCAN, "g", true),
    ("split", super::functions::SPLIT, "g", false),
    ("splits", super::functions::SPLIT, "g", true),
    ("sub", super::functions::SUB, "", false),
    ("test", super::functions::TEST, "", false),
];

/// Functions that take a time.
pub(super) const TIMES: &[&str] = &["gmtime", "strftime", "todate", "todateiso8601"];

/// Functions that make a text of whatever they take.
pub(super) const OF_TEXT: &[&str] = &["@base64", "@base64d", "@html", "@uri"];

/// Functions whose name here is another.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("@json", super::functions::TO_JSON),
    ("@text", super::functions::TO_TEXT),
    ("add", super::functions::ADD),
    ("from_entries", super::functions::FROM_ENTRIES),
    ("join", super::functions::JOIN),
    ("tojson", super::functions::TO_JSON),
    ("tostring", super::functions::TO_TEXT),
];
