// The link that the collector printed at its first start: its token stands behind the #, which no browser sends and no
// server logs.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("token").value = token;
  document.getElementById("name").focus();
}
