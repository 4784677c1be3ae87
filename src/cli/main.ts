console.log("mos");
